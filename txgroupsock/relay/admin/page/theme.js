// Light, dark, or as the system has it. No module, since it has to run before anything is painted.
"use strict";

(() => {
  const KEY = "groupsock-relay.theme";
  const THEMES = ["system", "light", "dark"];
  let theme = "system";
  try {
    theme = localStorage.getItem(KEY) ?? theme;
  } catch {
    // Storage may be forbidden; then the choice lasts as long as the page.
  }

  function apply() {
    if (!THEMES.includes(theme)) theme = "system";
    document.documentElement.dataset.theme = theme;
  }

  apply();
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const name = () => (button.textContent = `Theme: ${theme}`);
    button.addEventListener("click", () => {
      theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
      apply();
      name();
      try {
        localStorage.setItem(KEY, theme);
      } catch {
        // As above.
      }
    });
    name();
  });
})();
