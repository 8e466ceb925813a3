// A simulated user visits, and the page shows what they think.

import { AGENT_NAMES, byId, drawBars, drawTotals, element, itemParts, starsOf } from "./elements.js";

const PAUSE = 900; // milliseconds between steps

export class Watch {
  #server;
  #settings;
  #announce;
  #visit = null;
  #beliefs = null;
  #totals = null;
  #isOver = false;
  #isRunning = false;
  #guard;

  constructor(server, settings, announce, guard) {
    this.#server = server;
    this.#settings = settings;
    this.#announce = announce;
    this.#guard = guard;
    guard.button(byId("visit"), () => this.#begin());
    guard.button(byId("step"), () => this.#step());
    byId("run").addEventListener("click", () => (this.#isRunning ? this.pause() : this.#run()));
  }

  pause() {
    this.#isRunning = false;
    this.#drawControls();
  }

  async #begin() {
    this.pause();
    const { agent, numItems } = this.#settings();
    const before = this.#visit;
    this.#visit = await this.#server.post("/simulated-visits", { agent, num_items: numItems });
    if (before !== null) await this.#server.delete(`/simulated-visits/${before.visit}`).catch(() => {});
    this.#totals = { steps: 0, items: 0, clicks: 0, ratings: 0, sum: 0 };
    this.#beliefs = null;
    this.#isOver = false;
    byId("watch-agent").textContent = AGENT_NAMES[agent];
    byId("watch-slate").replaceChildren();
    byId("watch-side").hidden = false;
    byId("settings-note").textContent = "";
    byId("watch-state").textContent = "A visitor has come. Step through the visit, or let it run.";
    this.#announce("A new visitor.");
    this.#drawUser(this.#visit.user);
    this.#drawControls();
  }

  async #step() {
    const step = await this.#server.post(`/simulated-visits/${this.#visit.visit}/step`);
    const totals = this.#totals;
    totals.steps += 1;
    for (const shown of step.items) {
      totals.items += 1;
      totals.clicks += shown.click ? 1 : 0;
      totals.ratings += shown.rating > 0 ? 1 : 0;
      totals.sum += shown.rating;
    }
    this.#beliefs = step.beliefs;
    this.#isOver = step.is_over;
    byId("watch-slate").replaceChildren(...step.items.map((shown) => this.#card(shown)));
    const ended = step.has_left ? "The visitor lost patience and left." : "The visit is over.";
    const text = `Step ${totals.steps} of at most ${this.#visit.num_steps}. ${step.is_over ? ended : ""}`;
    byId("watch-state").textContent = text;
    if (!this.#isRunning || step.is_over) {
      this.#announce(`${text} ${step.items.map((shown) => `${shown.title}: ${answer(shown)}`).join("; ")}`);
    }
    this.#drawUser(step.user);
    if (step.is_over) this.pause();
    this.#drawControls();
  }

  async #run() {
    this.#isRunning = true;
    this.#drawControls();
    while (this.#isRunning && !this.#isOver) {
      if (!(await this.#guard.run(() => this.#step()))) this.#isRunning = false;
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
    this.#drawControls();
  }

  #card(shown) {
    const { picture, facts } = itemParts(this.#server, shown);
    const text = element("p", { class: `answer ${shown.click ? "taken" : "skipped"}` }, answer(shown));
    return element(
      "li",
      { class: "card panel", "data-answer": shown.click ? "rated" : "skipped" },
      picture,
      element("div", { class: "body" }, element("h3", {}, shown.title), facts, text),
    );
  }

  #drawUser({ interests, trust, patience }) {
    const nothing = Object.fromEntries(Object.keys(interests).map((topic) => [topic, 0]));
    drawBars(byId("tastes"), this.#beliefs ?? nothing, interests);
    const most = Math.max(this.#visit.user.patience, 1e-9);
    byId("state").replaceChildren(
      gauge("Trust", trust, 1, trust.toFixed(2)),
      gauge("Patience", Math.max(patience, 0), most, Math.max(patience, 0).toFixed(1)),
    );
    const { items, clicks, ratings, sum } = this.#totals;
    drawTotals(byId("watch-totals"), {
      Chosen: items === 0 ? "–" : `${Math.round((100 * clicks) / items)}%`,
      "Average rating": ratings === 0 ? "–" : (sum / ratings).toFixed(1),
    });
  }

  #drawControls() {
    const canStep = this.#visit !== null && !this.#isOver;
    byId("step").disabled = !canStep || this.#isRunning;
    byId("run").disabled = !canStep;
    byId("run").textContent = this.#isRunning ? "Pause" : "Run";
  }
}

function answer(shown) {
  if (!shown.click) return "Skipped";
  const finished = `Finished ${Math.round(100 * shown.consumption)}%`;
  return shown.rating > 0 ? `${finished}, rated ${shown.rating} of 5` : `${finished}, not rated`;
}

function gauge(name, value, most, text) {
  const bar = element("span", { class: "fill" });
  bar.style.width = `${Math.min((100 * value) / most, 100)}%`;
  return element(
    "li",
    {},
    element("span", { class: "topic" }, name),
    element("span", { class: "track", "aria-hidden": "true" }, bar),
    element("span", { class: "value" }, text),
  );
}
