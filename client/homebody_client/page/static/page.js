// The device page: buys a token with the one-time token of the address, keeps it in memory, sends
// it as a header, and lets the device say when something changed. Nothing is stored.
"use strict";
(() => {
  const REST_MS = 150; // between two refreshes of one device, however fast it changes
  const panels = [...document.querySelectorAll(".panel")];
  const byId = (id) => document.getElementById(id);
  const panelOf = (element) => element.closest(".panel");
  let token = null;

  // The address is shortened before anything else can see it.
  const oneTime = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);

  const headers = () => ({ Authorization: `Bearer ${token}` });

  function close() {
    token = null;
    byId("main").hidden = true;
    byId("closed").hidden = false;
  }

  function complain(text) {
    const place = byId("problem");
    place.hidden = !text;
    place.textContent = text;
  }

  function announce(panel, text) {
    byId(`said-${panel.dataset.profile}`).textContent = text;
  }

  const times = new WeakMap();
  function refresh(panel) {
    const { last = 0, timer } = times.get(panel) ?? {};
    clearTimeout(timer);
    const wait = Math.max(0, last + REST_MS - performance.now());
    const run = () => {
      if (panel.querySelector("input[type=range]:active")) return refresh(panel); // still dragged
      times.set(panel, { last: performance.now() });
      htmx.trigger(panel, "refresh");
    };
    times.set(panel, { last, timer: setTimeout(run, wait) });
  }

  // Forms become JSON with the types their fields show; "values.day" is a field of "values".
  let api = null;
  htmx.defineExtension("json", {
    init(internal) { api = internal; },
    onEvent(name, event) {
      if (name === "htmx:configRequest" && event.detail.verb !== "get") {
        event.detail.headers["Content-Type"] = "application/json";
      }
    },
    encodeParameters(_, parameters, element) {
      const body = {};
      const put = (path, value) => {
        const [first, ...rest] = path.split(".");
        if (rest.length) (body[first] ??= {})[rest.join(".")] = value;
        else body[first] = value;
      };
      parameters.forEach((value, name) => put(name, typed(element, name, value)));
      for (const box of element.querySelectorAll?.("input[type=checkbox]") ?? []) put(box.name, box.checked);
      return JSON.stringify({ ...body, ...api.getExpressionVars(element) });
    },
  });

  function typed(element, name, value) {
    const input = element.elements?.namedItem(name) ?? element;
    return ["range", "number"].includes(input.type) ? Number(value) : value;
  }

  const on = (name, react) => document.body.addEventListener(name, react);

  on("htmx:configRequest", (event) => {
    if (token === null) event.preventDefault();
    Object.assign(event.detail.headers, headers());
  });
  on("htmx:beforeRequest", (event) => {
    const part = event.detail.elt;
    if (part.matches(".part") && part.querySelector(".correct[open]")) event.preventDefault(); // half written
  });
  on("htmx:confirm", (event) => {
    if (!event.detail.question) return;
    event.preventDefault();
    ask(event.detail.question, () => event.detail.issueRequest(true));
  });
  on("htmx:afterRequest", (event) => {
    const { elt, requestConfig, successful, xhr } = event.detail;
    if (!successful || requestConfig.verb === "get") return;
    complain("");
    elt.closest("details.correct")?.removeAttribute("open");
    const kept = JSON.parse(xhr.responseText).kept;
    if (kept === false) complain("Nothing was kept: you have not allowed it. See “Your choices”.");
    refresh(panelOf(elt));
  });
  on("htmx:responseError", (event) => {
    const { xhr, requestConfig, elt } = event.detail;
    if (xhr.status === 401) return close();
    if (xhr.status === 503 && requestConfig.verb === "get") return setTimeout(refresh, 300, panelOf(elt));
    let said = { message: "The device could not do that.", fix: "" };
    try { said = JSON.parse(xhr.responseText).error; } catch { /* no words came */ }
    complain(`${said.message} ${said.fix}`.trim());
  });
  on("htmx:sendError", () => complain("The device does not answer. Is it still running?"));

  // A part that is replaced keeps what was open and where the eye and the keyboard were.
  const before = new WeakMap();
  on("htmx:beforeSwap", (event) => {
    const part = event.detail.target;
    const tops = new Map([...part.querySelectorAll(".card")].map((card) => [card.id, card.getBoundingClientRect().top]));
    const open = [...part.querySelectorAll("details[open]")].map((one) => one.id);
    before.set(part, { tops, open, held: part.contains(document.activeElement), scroll: part.querySelector(".rows")?.scrollTop });
  });
  on("htmx:afterSwap", (event) => {
    const part = event.detail.target;
    const { tops, open, held, scroll } = before.get(part) ?? { tops: new Map(), open: [] };
    for (const id of open) byId(id)?.setAttribute("open", "");
    if (scroll) part.querySelector(".rows")?.scrollTo(0, scroll);
    if (held && !part.contains(document.activeElement)) part.querySelector("h3")?.focus();
    const said = part.querySelector("[data-announce]");
    if (said && tops.size && moved(part, tops)) announce(panelOf(part), said.dataset.announce);
  });

  function moved(part, tops) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const cards = [...part.querySelectorAll(".card")];
    for (const card of still ? [] : cards) {
      const from = tops.get(card.id);
      const by = from === undefined ? 0 : from - card.getBoundingClientRect().top;
      if (from === undefined) card.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 280, easing: "ease-out" });
      else if (by) card.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], { duration: 280, easing: "ease-out" });
    }
    return cards.map((card) => card.id).join() !== [...tops.keys()].join();
  }

  function ask(question, then) {
    const dialog = byId("ask");
    const asker = document.activeElement?.id;
    // A refresh meanwhile may have replaced the button that asked: the keyboard returns to its like.
    dialog.onclose = () => byId(asker)?.focus();
    byId("ask-text").textContent = question;
    byId("ask-no").onclick = () => dialog.close();
    byId("ask-yes").onclick = () => { dialog.close(); then(); };
    dialog.showModal();
    byId("ask-no").focus();
  }

  on("click", async (event) => {
    const button = event.target.closest("[data-export]");
    if (!button) return;
    const answer = await fetch(`/export?profile=${button.dataset.export}`, { headers: headers() });
    if (answer.status === 401) return close();
    if (!answer.ok) return complain("The export could not be made.");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = "homebody-export.json";
    link.click();
    URL.revokeObjectURL(link.href);
  });
  on("input", (event) => {
    if (event.target.type === "range") event.target.parentElement.querySelector("output").value = event.target.value;
  });

  const pause = (ms) => new Promise((done) => setTimeout(done, ms));

  // Long polls: the device answers when something changed, or after a while with nothing new.
  async function watch() {
    let seen = panels.map(() => "new");
    while (token !== null) {
      try {
        const answer = await fetch(`/page/changes?since=${seen.join(",")}`, { headers: headers() });
        if (answer.status === 401) return close();
        if (!answer.ok) throw new Error("busy");
        const { changes } = await answer.json();
        panels.forEach((panel, at) => { if (changes[at] !== seen[at]) refresh(panel); });
        if (changes.every((count, at) => count === seen[at])) await pause(50);
        seen = changes;
      } catch {
        await pause(2000);
      }
    }
  }

  async function start() {
    if (!oneTime) return close();
    const answer = await fetch("/page/token", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ one_time: oneTime }),
    });
    if (!answer.ok) return close();
    token = (await answer.json()).token;
    byId("main").hidden = false;
    await watch();
  }

  addEventListener("DOMContentLoaded", () => { start().catch(close); });
})();
