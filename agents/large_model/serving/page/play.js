// A person plays the user.

import { AGENT_NAMES, byId, drawBars, drawTotals, element, itemParts, signed, starsOf } from "./elements.js";

const PERSON = "person"; // kept for the tab, so that a reload does not make another person

export class Play {
  #server;
  #catalog;
  #settings;
  #announce;
  #session = null;
  #isOver = false; // a blind session that has been compared
  #recommendation = null;
  #cards = [];
  #totals = noTotals();
  #sound = new Audio();

  // `settings()` is what has been chosen, `announce` tells a screen reader, `guard` shows the errors of a function and
  // keeps a button from being used while it runs.
  constructor(server, catalog, settings, announce, guard) {
    this.#server = server;
    this.#catalog = catalog;
    this.#settings = settings;
    this.#announce = announce;
    guard.button(byId("begin"), () => this.#show());
    guard.button(byId("again"), () => this.#show());
    guard.button(byId("next"), () => this.#next());
    guard.button(byId("compare"), () => this.#compare());
    guard.button(byId("download"), () => this.#download());
    guard.button(byId("delete"), () => this.#delete());
    byId("session").addEventListener("keydown", (event) => this.#onKey(event));
  }

  get isBegun() {
    return this.#session !== null;
  }

  async #next() {
    if (this.#recommendation !== null) await this.#send();
    await this.#show();
  }

  // Send the answers to the items that are shown.
  async #send() {
    const items = this.#cards.filter((card) => card.rating > 0).map((card) => card.feedback());
    const { recommendation } = this.#recommendation;
    try {
      await this.#server.post(`/sessions/${this.#session.session}/feedback`, { recommendation, items });
    } catch (error) {
      if (error.status === 404) this.#forget(); // deleted in another tab
      if (error.status !== 409) throw error; // 409: an earlier try has arrived, with other answers
    }
    this.#recommendation = null;
    this.#totals.rounds += 1;
    this.#totals.shown += this.#cards.length;
    this.#totals.rated += items.length;
    this.#totals.sum += items.reduce((sum, { rating }) => sum + rating, 0);
  }

  // Ask for a slate and show it, in a new session if there is none of the chosen agent.
  async #show() {
    const { agent, numItems } = this.#settings();
    if (this.#session === null || this.#session.agent !== agent || this.#isOver) {
      const person = sessionStorage.getItem(PERSON);
      this.#session = await this.#server.post("/sessions", { agent, ...(person === null ? {} : { person }) });
      sessionStorage.setItem(PERSON, this.#session.person);
      this.#isOver = false;
      this.#totals = noTotals();
    }
    const isBlind = agent === "blind";
    this.#recommendation = await this.#server.post(`/sessions/${this.#session.session}/recommendations`, {
      num_items: numItems,
      explain: agent === "large-model",
      beliefs: !isBlind,
    });
    const { items, beliefs } = this.#recommendation;
    this.#cards = items.map((shown) => new Card(this.#server, this.#catalog, shown, this.#play.bind(this)));
    byId("slate").replaceChildren(...this.#cards.map((card) => card.element));
    byId("slate-title").textContent = this.#totals.rounds === 0 ? "For you" : `For you, after ${rounds(this.#totals)}`;
    byId("slate-agent").textContent = AGENT_NAMES[agent];
    byId("intro").hidden = byId("result").hidden = true;
    byId("session").hidden = byId("side").hidden = false;
    byId("beliefs-panel").hidden = isBlind;
    byId("blind-panel").hidden = !isBlind;
    byId("compare").disabled = this.#totals.rounds === 0;
    byId("settings-note").textContent = "";
    if (!isBlind) drawBars(byId("beliefs"), beliefs);
    this.#drawTotals();
    this.#cards[0].element.focus();
    this.#announce(`New items: ${items.map((shown) => shown.title).join("; ")}`);
  }

  #drawTotals() {
    const { rounds, shown, rated, sum } = this.#totals;
    drawTotals(byId("totals"), {
      Rounds: rounds,
      Shown: shown,
      Rated: rated,
      Average: rated === 0 ? "–" : (sum / rated).toFixed(1),
    });
  }

  async #compare() {
    const { agents, caveat } = await this.#server.get(`/sessions/${this.#session.session}/comparison`);
    const share = (value) => (value === null ? "–" : `${Math.round(100 * value)}%`);
    byId("result-agents").replaceChildren(
      ...Object.entries(agents).map(([name, result]) => {
        const list = element("dl", { class: "totals" });
        drawTotals(list, {
          Rounds: result.recommendations,
          Rated: share(result.click_rate),
          Average: result.mean_rating === null ? "–" : result.mean_rating.toFixed(1),
        });
        return element("section", {}, element("h3", {}, AGENT_NAMES[name]), list);
      }),
    );
    byId("caveat").textContent = caveat;
    this.#isOver = true;
    byId("side").hidden = false;
    byId("blind-panel").hidden = true;
    this.#leave("result");
  }

  async #download() {
    const stored = await this.#server.get(`/sessions/${this.#session.session}`);
    const url = URL.createObjectURL(new Blob([JSON.stringify(stored, null, 2)], { type: "application/json" }));
    element("a", { href: url, download: "session.json" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
    this.#announce("Your session is being downloaded.");
  }

  async #delete() {
    if (!window.confirm("Delete everything that the server has stored about you?")) return;
    await this.#server.delete(`/people/${encodeURIComponent(this.#session.person)}`);
    this.#forget();
    this.#announce("Everything about you has been deleted.");
    byId("settings-note").textContent = "Everything about you has been deleted.";
    byId("begin").focus();
  }

  #forget() {
    sessionStorage.removeItem(PERSON);
    this.#session = this.#recommendation = null;
    byId("side").hidden = true;
    this.#leave("intro");
  }

  #leave(to) {
    this.#sound.pause();
    for (const part of ["session", "result", "intro"]) byId(part).hidden = part !== to;
    byId(to).focus();
  }

  async #play(path) {
    this.#sound.src = await this.#server.media(path);
    await this.#sound.play();
  }

  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase();
    const place = this.#cards.findIndex((card) => card.element.contains(document.activeElement));
    const card = this.#cards[place];
    if (key === "n") byId("next").click();
    else if (key === "j" || key === "k") this.#focus(place + (key === "j" ? 1 : -1));
    else if (card === undefined) return;
    else if ("12345".includes(key)) this.#answered(card, () => card.rate(Number(key)));
    else if (key === "s") this.#answered(card, () => card.skip());
    else if (key === "l") this.#answered(card, () => card.less());
    else if (key === "w") card.toggleWhy();
    else if (key === "p") card.listen();
    else return;
    event.preventDefault();
  }

  // Answer, and go on to the next item without an answer.
  #answered(card, answer) {
    answer();
    const open = this.#cards.findIndex((each) => !each.isAnswered);
    if (open < 0) byId("next").focus();
    else this.#focus(open);
  }

  #focus(place) {
    this.#cards[Math.min(Math.max(place, 0), this.#cards.length - 1)].element.focus();
  }
}

const noTotals = () => ({ rounds: 0, shown: 0, rated: 0, sum: 0 });

const rounds = (totals) => (totals.rounds === 1 ? "1 round" : `${totals.rounds} rounds`);

let numCards = 0;

// An item of a slate, with its answer.
class Card {
  rating = 0; // 0 for none
  isAnswered = false;
  #catalog;
  #shown;
  #stars;
  #skip;
  #less;
  #listen;
  #why = null;

  constructor(server, catalog, shown, play) {
    this.#catalog = catalog;
    this.#shown = shown;
    const id = `item-${(numCards += 1)}`;
    const { picture, facts, ready } = itemParts(server, shown);
    this.#stars = this.#makeStars(id);
    this.#skip = toggle("Skip", () => this.skip());
    this.#less = toggle("Less of this", () => this.less());
    this.#listen = element("button", { type: "button", class: "listen", hidden: true }, "▶ Listen");
    ready.then((item) => {
      if (item.audio === null) return;
      this.#listen.hidden = false;
      this.#listen.setAttribute("aria-label", `Listen to ${shown.title}`);
      this.#listen.addEventListener("click", () => play(item.audio).catch(() => {}));
    }, () => {});
    if (shown.why != null) this.#why = whyThis(server, shown);
    this.element = element(
      "li",
      { class: "card panel", tabindex: "-1", "aria-labelledby": id },
      picture,
      element(
        "div",
        { class: "body" },
        element("h3", { id }, shown.title),
        facts,
        element("div", { class: "answers" }, this.#stars, this.#listen, this.#skip, this.#less),
        this.#why,
      ),
    );
  }

  #makeStars(id) {
    const stars = element("fieldset", { class: "stars", "data-rating": "0" });
    stars.append(element("legend", { class: "visually-hidden" }, `Your rating of ${this.#shown.title}`));
    for (let rating = 1; rating <= 5; rating += 1) {
      const input = element("input", { type: "radio", name: id, value: rating });
      input.addEventListener("change", () => this.rate(rating));
      const name = starsOf(rating);
      stars.append(
        element("label", { title: name }, input, element("span", { "aria-hidden": "true" }, "★"),
          element("span", { class: "visually-hidden" }, name)),
      );
    }
    return stars;
  }

  rate(rating) {
    this.#answer(rating, null);
  }

  skip() {
    this.#answer(0, this.#skip);
  }

  less() {
    this.#answer(1, this.#less);
  }

  toggleWhy() {
    if (this.#why !== null) this.#why.open = !this.#why.open;
  }

  listen() {
    if (!this.#listen.hidden) this.#listen.click();
  }

  // The page cannot see how much was consumed; the rating stands for it. In a shop a rating tells of a purchase.
  feedback() {
    const { item } = this.#shown;
    const rating = this.rating;
    return { item, click: true, consumption: rating / 5, rating, purchase: this.#catalog.is_shop };
  }

  #answer(rating, pressed) {
    this.rating = rating;
    this.isAnswered = true;
    for (const button of [this.#skip, this.#less]) button.setAttribute("aria-pressed", String(button === pressed));
    const stars = pressed === null ? rating : 0;
    this.#stars.dataset.rating = stars;
    this.#stars.querySelectorAll("input").forEach((input) => (input.checked = Number(input.value) === stars));
    this.element.dataset.answer = rating === 0 ? "skipped" : "rated";
  }
}

function toggle(text, act) {
  const button = element("button", { type: "button", "aria-pressed": "false" }, text);
  button.addEventListener("click", act);
  return button;
}

// What an item owes its place to, in words.
function whyThis(server, shown) {
  const list = element("ul");
  const details = element("details", { class: "why" }, element("summary", {}, "Why this?"), list);
  const reasons = [...shown.why].sort((one, other) => other.effect - one.effect);
  if (reasons.length === 0) {
    list.append(element("li", {}, "You have not answered anything yet. This is a safe start."));
  }
  reasons.forEach((reason, place) => {
    const line = element("li", {}, "…");
    list.append(line);
    const isSaid = place > 0 && reason.instead === reasons[place - 1].instead;
    Promise.all([server.item(reason.item), server.item(reason.instead)]).then(
      ([item, instead]) => (line.textContent = sentence(reason, item, isSaid ? shown : instead, shown)),
      () => line.remove(),
    );
  });
  if (reasons.length > 0) {
    list.append(element("li", { class: "note" }, "In brackets: how much the answer raises (+) or lowers (−) the score."));
  }
  return details;
}

// What one answer does for the score, and which item would come first without it.
function sentence(reason, item, instead, shown) {
  const title = item.item === shown.item ? "it" : `“${item.title}”`;
  let answer = `skipped ${title}`;
  if (reason.rating > 0) answer = `gave ${title} ${starsOf(reason.rating)}`;
  else if (reason.click) answer = `chose ${title}`;
  if (item.item === shown.item) answer += " before";
  const effect = `${reason.effect < 0 ? "Although" : "Because"} you ${answer} (${signed(reason.effect)}).`;
  return instead.item === shown.item ? effect : `${effect} Without that, “${instead.title}” would come first.`;
}
