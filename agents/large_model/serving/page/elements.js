// Parts that the page is made of.

export const byId = (id) => document.getElementById(id);

// An element with attributes, properties (names that start with a dot), and children.
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith(".")) made[name.slice(1)] = value;
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

export const AGENT_NAMES = { "large-model": "Large model", platform: "Platform", blind: "Blind test" };

// A number with its sign: +0.30, −0.12, 0.00.
export function signed(value, digits = 2) {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return (value < 0 ? "−" : "+") + text;
}

export const starsOf = (rating) => (rating === 1 ? "1\u00a0star" : `${rating}\u00a0stars`);

const LONGEST_BAR = 0.5; // standard deviations; grows with larger values

// Values of topics as bars that start in the middle. With `others`, each topic has a second one.
export function drawBars(list, values, others = null) {
  const all = [...Object.values(values), ...Object.values(others ?? {})];
  const longest = Math.max(LONGEST_BAR, ...all.map(Math.abs));
  const bar = (value, kind) => {
    const inner = element("span", { class: `bar ${kind} ${value < 0 ? "negative" : "positive"}` });
    inner.style.width = `${(50 * Math.abs(value)) / longest}%`;
    return element("span", { class: "track", "aria-hidden": "true" }, inner);
  };
  const number = (value, name) =>
    element(
      "span",
      { class: "value" },
      name === null ? "" : element("span", { class: "visually-hidden" }, `${name} `),
      signed(value, 1),
    );
  list.replaceChildren(
    ...Object.entries(values).map(([topic, value]) => {
      const name = element("span", { class: "topic" }, topic);
      if (others === null) return element("li", {}, name, bar(value, "believed"), number(value, null));
      return element(
        "li",
        {},
        name,
        bar(value, "believed"),
        number(value, "believed"),
        bar(others[topic], "true"),
        number(others[topic], "true"),
      );
    }),
  );
}

export function drawTotals(list, totals) {
  list.replaceChildren(
    ...Object.entries(totals).map(([name, value]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, String(value))),
    ),
  );
}

// Picture and facts of an item, which arrive later.
export function itemParts(server, shown) {
  const picture = element("div", { class: "picture", "aria-hidden": "true" });
  const facts = element("p", { class: "facts" });
  const ready = server.item(shown.item).then((item) => {
    facts.append(...mainTopics(item).map((topic) => element("span", { class: "chip" }, topic)));
    if (item.creator !== null) facts.append(element("span", {}, `Creator ${item.creator + 1}`));
    if (item.price !== null) facts.append(element("span", {}, `Price ${item.price.toFixed(2)}`));
    if (item.image !== null) {
      server.media(item.image).then(
        (url) => picture.replaceChildren(element("img", { src: url, alt: "" })),
        () => {}, // a card without its picture is of use, too
      );
    } else {
      picture.append(element("span", {}, shown.title.slice(0, 1).toUpperCase()));
    }
    return item;
  });
  return { picture, facts, ready };
}

function mainTopics(item) {
  const sorted = Object.entries(item.topics).sort((one, other) => other[1] - one[1]);
  return sorted.filter(([, weight]) => weight >= 0.5 * sorted[0][1]).slice(0, 3).map(([topic]) => topic);
}
