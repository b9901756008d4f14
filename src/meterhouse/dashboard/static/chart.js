// The usage chart: drawn by plotly from the numbers that came with the page. Values are exact texts;
// only the height of a bar is a float. Changing the form fetches the chart anew and its address.

const COLORS = [
  '#4477aa', '#ee6677', '#228833', '#ccbb44', '#66ccee', '#aa3377',
  '#6a5acd', '#44aa99', '#ddcc77', '#882255', '#999933', '#aa4499',
];
const OTHER = '#a5abb5';
const TITLE_CHARS_MAX = 28;

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const escape = (text) => text.replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`);
const cut = (text) => escape(
  text.length > TITLE_CHARS_MAX ? `${text.slice(0, TITLE_CHARS_MAX - 1)}…` : text,
);

function grouped(text) {
  const [whole, decimals = ''] = text.split('.');
  const rest = decimals.replace(/0+$/, '');
  return whole.replace(/\B(?=(\d{3})+(?!\d))/g, ',') + (rest && `.${rest}`);
}

function bars(data) {
  const open = (number) => number === data.unfinished;
  return data.series.map((series, index) => {
    const color = series.other ? OTHER : COLORS[index % COLORS.length];
    return {
      type: 'bar',
      name: cut(series.name || 'Usage'),
      x: data.labels,
      y: series.bars.map(Number),
      customdata: series.bars.map((bar, number) => [
        grouped(bar), escape(series.name || 'Usage'), open(number) ? ' · not over yet' : '',
      ]),
      hovertemplate: '%{customdata[1]}<br><b>%{customdata[0]}</b>%{customdata[2]}<extra></extra>',
      marker: {
        color: data.labels.map((_, number) => (open(number) ? `${color}66` : color)),
        pattern: {
          shape: data.labels.map((_, number) => (open(number) ? '/' : '')),
          fgcolor: color,
          size: 6,
          solidity: 0.35,
        },
        line: { width: 0 },
      },
      legendgroup: String(index),
    };
  });
}

function previous(data) {
  if (!data.previous) return [];
  return [{
    type: 'scatter',
    mode: 'lines+markers',
    name: 'Previous period',
    x: data.labels,
    y: data.previous.map(Number),
    customdata: data.previous.map(grouped),
    hovertemplate: 'Previous period<br><b>%{customdata}</b><extra></extra>',
    line: { color: css('--ink'), width: 1.5, dash: 'dot' },
    marker: { size: 4 },
  }];
}

function layout(data, narrow) {
  const text = css('--soft');
  const many = data.series.length > 1 || Boolean(data.previous);
  return {
    barmode: 'relative',
    bargap: data.labels.length > 60 ? 0.12 : 0.28,
    paper_bgcolor: css('--card'),
    plot_bgcolor: css('--card'),
    font: { family: css('--sans'), size: 12, color: text },
    margin: { l: 56, r: 10, t: 10, b: 40 },
    showlegend: many,
    legend: { orientation: 'h', y: -0.16, x: 0, font: { size: 12 }, itemwidth: 30, traceorder: 'normal' },
    hovermode: 'closest',
    hoverlabel: { bgcolor: css('--ink'), bordercolor: css('--ink'), font: { color: css('--card'), size: 13 } },
    xaxis: {
      type: 'category', fixedrange: true, nticks: narrow ? 4 : 9, tickangle: 0, automargin: true,
      showgrid: false, linecolor: css('--line'), tickfont: { size: 11 },
    },
    yaxis: {
      fixedrange: true, gridcolor: css('--line'), zeroline: true, zerolinecolor: css('--line'),
      tickformat: '~s', nticks: 6, automargin: true, rangemode: 'tozero',
    },
  };
}

function draw(section) {
  const place = section.querySelector('.plot');
  const source = section.querySelector('script[type="application/json"]');
  if (!place || !source || !window.Plotly) return;
  const data = JSON.parse(source.textContent);
  place.replaceChildren();
  const traces = [...bars(data), ...previous(data)];
  const config = { displayModeBar: false, responsive: true, displaylogo: false };
  Plotly.newPlot(place, traces, layout(data, place.clientWidth < 600), config);
  place.on('plotly_click', (event) => {
    const link = data.series[event.points[0].curveNumber]?.link;
    if (link) go(section, link);
  });
  place.dataset.drawn = 'true';
}

async function go(section, url, push = true) {
  section.classList.add('busy');
  section.setAttribute('aria-busy', 'true');
  const answer = await fetch(url, { headers: { 'X-Fragment': 'usage' } });
  if (!answer.ok || answer.redirected || new URL(url, location).pathname !== location.pathname) {
    location.assign(url);
    return;
  }
  const focused = document.activeElement?.name;
  section.innerHTML = await answer.text();
  section.classList.remove('busy');
  section.removeAttribute('aria-busy');
  if (push) history.pushState(null, '', url);
  draw(section);
  if (focused) section.querySelector(`[name="${CSS.escape(focused)}"]`)?.focus();
}

function address(form) {
  const query = new URLSearchParams();
  for (const [name, text] of new FormData(form)) if (text) query.append(name, text);
  const adds = query.get('filter_key') || query.get('filter_tenant');
  if (adds && !query.has('filter_value')) query.delete('filter_key');
  if (query.get('range') !== 'custom') for (const field of ['from', 'to']) query.delete(field);
  return `${form.action.split('?')[0]}?${query}`;
}

function begin(section) {
  section.addEventListener('change', (event) => {
    const { form, name } = event.target;
    if (!form || name?.startsWith('filter_')) return;
    if (name === 'from' || name === 'to') form.elements.range.value = 'custom';
    if (name === 'meter' && form.elements.group) form.elements.group.value = '';
    go(section, address(form));
  });
  section.addEventListener('submit', (event) => {
    event.preventDefault();
    go(section, address(event.target));
  });
  section.addEventListener('click', (event) => {
    const link = event.target.closest('a[data-stay]');
    if (link && !event.metaKey && !event.ctrlKey) {
      event.preventDefault();
      go(section, link.href);
    }
    if (event.target.closest('button[data-png]')) {
      const place = section.querySelector('.plot');
      Plotly.downloadImage(place, { format: 'png', width: 1200, height: 600, filename: 'usage' });
    }
  });
  addEventListener('popstate', () => go(section, location.href, false));
  addEventListener('theme', () => draw(section));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => draw(section));
  draw(section);
}

for (const section of document.querySelectorAll('[data-usage]')) begin(section);
