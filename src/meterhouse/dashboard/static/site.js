// What every page does: the theme, copying, confirming, and parts that are live or fetched again.

const root = document.documentElement;

function theme() {
  const kept = root.dataset.theme;
  if (kept) return kept;
  return matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
}

function remember(name) {
  root.dataset.theme = name;
  try {
    localStorage.setItem('theme', name);
  } catch {
    // A browser that keeps nothing shows the theme until the next page.
  }
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  await navigator.clipboard.writeText(source.textContent);
  const before = button.textContent;
  button.textContent = 'Copied';
  setTimeout(() => { button.textContent = before; }, 1500);
}

// Show what a live part is now; rows that were not there before are marked for a moment.
function show(part, html) {
  const before = new Set([...part.querySelectorAll('[data-id]')].map((row) => row.dataset.id));
  part.innerHTML = html;
  if (!before.size) return;
  for (const row of part.querySelectorAll('[data-id]')) {
    if (!before.has(row.dataset.id)) row.classList.add('fresh');
  }
}

function follow(part) {
  const sign = document.querySelector('.live');
  const source = new EventSource(part.dataset.live);
  const say = (on, text) => {
    if (!sign) return;
    sign.classList.toggle('on', on);
    sign.textContent = text;
  };
  source.onopen = () => say(true, 'Live');
  source.onmessage = (event) => {
    say(true, 'Live');
    const html = JSON.parse(event.data);
    if (part.dataset.first !== undefined) {
      if (html.trim()) location.reload(); // there was nothing to show when the page was made
    } else if (!part.contains(document.activeElement)) show(part, html);
  };
  source.addEventListener('signed_out', () => location.reload()); // which leads to the sign-in page
  source.onerror = () => say(false, 'Reconnecting…');
  addEventListener('pagehide', () => source.close());
}

// Ask again every second until nothing is under way.
function poll(part) {
  const timer = setInterval(async () => {
    const answer = await fetch(location.href, { headers: { 'X-Fragment': '1' } });
    if (answer.ok) part.innerHTML = await answer.text();
    if (!part.querySelector('[data-running]')) clearInterval(timer);
  }, 1000);
}

document.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (button?.dataset.copy) copy(button);
  if (button?.dataset.theme !== undefined) {
    remember(theme() === 'dark' ? 'light' : 'dark');
    dispatchEvent(new Event('theme'));
  }
  for (const menu of document.querySelectorAll('details.menu[open]')) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener('submit', (event) => {
  const question = event.submitter?.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape') return;
  for (const menu of document.querySelectorAll('details.menu[open]')) {
    menu.open = false;
    menu.querySelector('summary').focus();
  }
});

// On a phone the bar of pages is wider than the screen.
document.querySelector('.nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
for (const part of document.querySelectorAll('[data-live]')) follow(part);
for (const part of document.querySelectorAll('[data-poll]')) {
  if (part.querySelector('[data-running]')) poll(part);
}
for (const form of document.querySelectorAll('form[data-auto]')) {
  form.addEventListener('change', () => form.requestSubmit());
}
