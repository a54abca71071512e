"use strict";
(() => {
  const MOST_ROWS = 1000;
  const at = (id) => document.getElementById(id);
  const token = document.querySelector("meta[name=token]").content;
  const [rows, details, search, filter] = ["rows", "details", "search", "filter"].map(at);
  const [state, count, empty, older] = ["state", "count", "empty", "older"].map(at);
  // Every fragment was escaped by the server, and the policy of the page runs no script in one.
  const fragments = window.trustedTypes
    ? trustedTypes.createPolicy("fragments", { createHTML: (html) => html })
    : { createHTML: (html) => html };
  const fragment = (html) => {
    const template = document.createElement("template");
    template.innerHTML = fragments.createHTML(html);
    return template.content;
  };

  let events, timer;
  let chosen = null;
  let asked = 0;

  const query = (more = {}) => {
    const verdict = filter.elements.verdict.value;
    return new URLSearchParams({ q: search.value, verdict, ...more }).toString();
  };

  const mark = () => {
    for (const row of rows.querySelectorAll("[aria-current]")) {
      if (row.dataset.id !== chosen) row.removeAttribute("aria-current");
    }
    if (chosen === null) return;
    rows.querySelector(`[data-id="${chosen}"]`)?.setAttribute("aria-current", "true");
  };

  const show = ({ replace, has_more, html, here, dropped }) => {
    const added = fragment(html);
    if (replace) {
      const focused = document.activeElement?.dataset?.id;
      rows.replaceChildren(added);
      if (focused) rows.querySelector(`[data-id="${focused}"]`)?.focus();
      older.hidden = !has_more;
    } else {
      for (const row of added.children) row.classList.add("new");
      rows.prepend(added);
    }
    while (rows.childElementCount > MOST_ROWS) {
      rows.lastElementChild.remove();
      older.hidden = false;
    }
    mark();
    const number = (n) => n.toLocaleString("en");
    const all = here === 1 ? "1 request" : `${number(here)} requests`;
    const found = number(rows.childElementCount) + (older.hidden ? "" : " or more");
    const isFiltered = search.value.trim() || filter.elements.verdict.value;
    const shown = isFiltered ? `${found} of ${all}` : all;
    // A screen reader says how many requests a filter finds, and not each request that comes.
    count.setAttribute("aria-live", replace ? "polite" : "off");
    count.textContent = dropped ? `${shown}; ${number(dropped)} older ones are gone` : shown;
    empty.hidden = rows.childElementCount > 0;
    empty.textContent = here ? "No request matches." : "No requests yet.";
  };

  const open = () => {
    events?.close();
    events = new EventSource(`events?${query()}`);
    events.onopen = () => {
      state.textContent = "live";
      state.className = "state live";
    };
    events.onerror = () => {
      state.textContent = "not connected";
      state.className = "state lost";
    };
    events.onmessage = (event) => show(JSON.parse(event.data));
  };

  const choose = async (row) => {
    chosen = row.dataset.id;
    mark();
    const mine = ++asked;
    const answer = await fetch(`requests/${chosen}`).catch(() => null);
    if (mine !== asked) return;
    if (answer?.ok) {
      details.replaceChildren(fragment(await answer.text()));
      details.scrollTop = 0;
    } else {
      details.textContent = answer ? await answer.text() : "The server does not answer.";
    }
  };

  const send = async (button, wanted) => {
    const output = at("answer");
    const id = button.closest("[data-id]").dataset.id;
    button.disabled = true;
    output.textContent = "sending …";
    const headers = { "content-type": "application/json", "x-countersign-token": token };
    const refused = at("refused")?.checked ?? false;
    const body = JSON.stringify({ ...wanted, refused });
    const answer = await fetch(`requests/${id}/replay`, { method: "POST", headers, body }).catch(() => null);
    if (answer?.ok) output.replaceChildren(fragment(await answer.text()));
    else output.textContent = answer ? await answer.text() : "The server does not answer.";
    button.disabled = false;
  };

  const copy = async (button) => {
    const text = at("curl").textContent;
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      at("curl").closest("details").open = true;
      getSelection().selectAllChildren(at("curl"));
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => { button.textContent = label; }, 2000);
  };

  rows.addEventListener("click", async (event) => {
    const row = event.target.closest(".row");
    if (!row) return;
    await choose(row);
    // The keyboard's Enter goes on to the request.
    if (event.detail === 0) at("title")?.focus();
  });

  details.addEventListener("click", (event) => {
    const button = event.target.closest("[data-action]");
    if (!button || button.disabled) return;
    const number = Number(at("copies").value);
    const copies = Number.isInteger(number) ? number : 0;
    switch (button.dataset.action) {
      case "replay": send(button, { copies: 1, sign_again: false }); break;
      case "sign": send(button, { copies: 1, sign_again: true }); break;
      case "copies": send(button, { copies, sign_again: false }); break;
      case "copy": copy(button); break;
    }
  });

  filter.addEventListener("submit", (event) => event.preventDefault());
  filter.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(open, 150);
  });

  older.addEventListener("click", async () => {
    const last = rows.lastElementChild?.querySelector(".row");
    const answer = await fetch(`rows?${query({ before: last?.dataset.id ?? "" })}`).catch(() => null);
    if (!answer?.ok) return;
    const { html, has_more } = await answer.json();
    rows.append(fragment(html));
    older.hidden = !has_more;
    mark();
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const writes = event.target.matches("input:not([type=radio]), textarea");
    if (event.key === "/" && !writes) {
      event.preventDefault();
      search.focus();
    } else if (event.key === "Escape") {
      const row = rows.querySelector("[aria-current]") ?? rows.querySelector(".row");
      if (event.target !== search || !search.value) row?.focus();
    } else if (["ArrowDown", "ArrowUp"].includes(event.key)) {
      const inList = rows.contains(event.target);
      if (!inList && event.target !== search) return;
      const item = event.target.closest("li");
      const next = event.key === "ArrowDown" ? item?.nextElementSibling : item?.previousElementSibling;
      const row = inList ? next?.querySelector(".row") : rows.querySelector(".row");
      if (!row) return;
      event.preventDefault();
      row.focus();
      choose(row);
    }
  });

  open();
})();
