// Settings, modes, errors and the token; `play` and `watch` do the rest.

import { byId } from "./elements.js";
import { Play } from "./play.js";
import { Server } from "./server.js";
import { Watch } from "./watch.js";

const form = byId("settings");

function settings() {
  const chosen = new FormData(form);
  return { agent: chosen.get("agent"), numItems: Number(chosen.get("items")) };
}

function announce(text) {
  byId("status").textContent = text;
}

// Runs functions that ask the server, and shows their errors; returns whether there was none.
const guard = {
  async run(act) {
    byId("error").hidden = true;
    try {
      await act();
      return true;
    } catch (error) {
      byId("error").textContent = error.message;
      byId("error").hidden = false;
      return false;
    }
  },

  button(button, act) {
    let isBusy = false;
    button.addEventListener("click", async () => {
      if (isBusy) return;
      isBusy = true;
      button.setAttribute("aria-busy", "true");
      await guard.run(act);
      button.removeAttribute("aria-busy");
      isBusy = false;
    });
  },
};

function askForToken(isRefused) {
  const dialog = byId("token-dialog");
  byId("token-problem").textContent = isRefused ? "This is not the token of the server." : "";
  dialog.oncancel = (event) => event.preventDefault(); // nothing can be done without one
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    byId("token-form").addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        dialog.close();
        resolve(byId("token").value);
        byId("token").value = "";
      },
      { once: true },
    );
  });
}

async function start() {
  const server = new Server(askForToken);
  const catalog = await server.get("/catalog");
  byId("about").textContent = `${catalog.items.toLocaleString("en")} items. A recommender learns what you like while you answer.`;
  byId("watch-link").hidden = !catalog.has_simulated_users;
  const play = new Play(server, catalog, settings, announce, guard);
  const watch = new Watch(server, settings, announce, guard);

  function showMode() {
    const isWatching = location.hash === "#watch" && catalog.has_simulated_users;
    byId("play").hidden = isWatching;
    byId("watch").hidden = !isWatching;
    byId("blind-choice").hidden = isWatching;
    if (isWatching && settings().agent === "blind") form.agent.value = "large-model";
    if (!isWatching) watch.pause();
    for (const link of document.querySelectorAll("nav a")) {
      if ((link.id === "watch-link") === isWatching) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    byId("settings-note").textContent = "";
  }

  form.addEventListener("change", () => {
    const isWatching = !byId("watch").hidden;
    const when = isWatching ? "From the next visitor on." : play.isBegun ? "From the next items on." : "";
    byId("settings-note").textContent = when;
    announce(when);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", showMode);
  showMode();
}

guard.run(start);
