// Loaded before anything is drawn, so that a page never flashes in the other theme.
(() => {
  const asked = document.documentElement.dataset.ask;
  if (asked === 'light' || asked === 'dark') {
    document.documentElement.dataset.theme = asked;
    return;
  }
  if (asked !== undefined) return;
  try {
    const kept = localStorage.getItem('theme');
    if (kept === 'light' || kept === 'dark') document.documentElement.dataset.theme = kept;
  } catch {
    // A browser that keeps nothing follows the system.
  }
})();
