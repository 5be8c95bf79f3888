// What the pages gain when scripts run; each of them works without.
"use strict";

(() => {
  const TYPING = "input, select, textarea, [contenteditable]";
  const INTERACTIVE = "a, button, input, select, textarea, summary, label";

  const rowLinks = () => [...document.querySelectorAll("[data-row-link]")];

  function reveal(root) {
    root.querySelectorAll("[data-needs-script]").forEach((element) => element.removeAttribute("hidden"));
  }

  function moveInList(step) {
    const links = rowLinks();
    if (!links.length) return;
    const at = links.findIndex((link) => link.closest("tr").contains(document.activeElement));
    const next = links[Math.min(Math.max(at + step, 0), links.length - 1)];
    next.focus();
    next.closest("tr").scrollIntoView({ block: "nearest" });
  }

  function closeMenus(except) {
    document.querySelectorAll("details.menu[open]").forEach((menu) => {
      if (menu !== except) menu.open = false;
    });
  }

  function escape() {
    const menu = document.activeElement.closest("details.menu[open]");
    closeMenus(null);
    if (menu) menu.querySelector("summary").focus();
  }

  const KEYS = {
    "/": () => document.querySelector("[data-search]")?.focus(),
    "?": () => document.querySelector("dialog[data-keys]")?.showModal(),
    j: () => moveInList(1),
    k: () => moveInList(-1),
  };

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return escape();
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest(TYPING) || document.querySelector("dialog[open]")) return;
    const act = KEYS[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  // A row opens where it is clicked, unless a control was meant or text is being selected for copying.
  function openRow(event) {
    const row = event.target.closest("tr.openable");
    if (!row || event.target.closest(INTERACTIVE) || String(getSelection())) return;
    const link = row.querySelector("[data-row-link]");
    if (event.ctrlKey || event.metaKey) window.open(link.href, "_blank", "noopener");
    else link.click();
  }

  async function copy(button) {
    const source = document.getElementById(button.dataset.copy);
    const label = button.querySelector("[data-label]") ?? button;
    const before = label.textContent;
    try {
      await navigator.clipboard.writeText(source.textContent.trim());
      label.textContent = button.dataset.done;
      button.classList.add("done");
      setTimeout(() => {
        label.textContent = before;
        button.classList.remove("done");
      }, 2000);
    } catch {
      getSelection().selectAllChildren(source); // no clipboard here (plain http): ready for Ctrl+C
    }
  }

  document.addEventListener("click", (event) => {
    closeMenus(event.target.closest("details.menu"));
    const copier = event.target.closest("[data-copy]");
    if (copier) return void copy(copier);
    const opener = event.target.closest("[data-dialog]");
    if (opener) return document.getElementById(opener.dataset.dialog).showModal();
    openRow(event);
  });

  // Empty fields of a filter form would only make the address long.
  document.addEventListener("htmx:configRequest", (event) => {
    if (event.detail.verb !== "get") return;
    const parameters = event.detail.parameters;
    for (const name of Object.keys(parameters)) if (parameters[name] === "") delete parameters[name];
  });

  for (const failure of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) {
    document.addEventListener(failure, () => document.getElementById("load-error")?.removeAttribute("hidden"));
  }
  document.addEventListener("htmx:beforeRequest", () => document.getElementById("load-error")?.setAttribute("hidden", ""));
  document.addEventListener("htmx:afterSettle", (event) => reveal(event.target.parentElement ?? document));

  reveal(document);
})();
