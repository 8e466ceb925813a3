// Requests to the server.

export class ServerError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export class Server {
  #token = null;
  #askForToken;
  #items = new Map();
  #media = new Map();

  // `askForToken` resolves to the token; its argument says whether another one has been refused.
  constructor(askForToken) {
    this.#askForToken = askForToken;
  }

  get(path) {
    return this.#json("GET", path);
  }

  post(path, request) {
    return this.#json("POST", path, request);
  }

  delete(path) {
    return this.#json("DELETE", path);
  }

  // The item with that id, asked for once.
  item(id) {
    if (!this.#items.has(id)) {
      const found = this.get(`/items/${encodeURIComponent(id)}`);
      found.catch(() => this.#items.delete(id));
      this.#items.set(id, found);
    }
    return this.#items.get(id);
  }

  // A URL of a picture or a sound for elements, which cannot send the token themselves.
  media(path) {
    if (!this.#media.has(path)) {
      const found = this.#answer("GET", path).then(async (answer) => URL.createObjectURL(await answer.blob()));
      found.catch(() => this.#media.delete(path));
      this.#media.set(path, found);
    }
    return this.#media.get(path);
  }

  async #json(method, path, request) {
    const answer = await this.#answer(method, path, request);
    return answer.status === 204 ? null : answer.json();
  }

  async #answer(method, path, request) {
    const token = this.#token;
    const headers = token === null ? {} : { authorization: `Bearer ${token}` };
    const body = request === undefined ? undefined : JSON.stringify(request);
    if (body !== undefined) headers["content-type"] = "application/json";
    let answer;
    try {
      answer = await fetch(path, { method, headers, body });
    } catch {
      throw new ServerError(0, "The server does not answer. Is it still running?");
    }
    if (answer.status === 401) {
      if (token === this.#token) this.#token = await this.#askForToken(token !== null);
      return this.#answer(method, path, request);
    }
    if (!answer.ok) {
      const problem = await answer.json().catch(() => ({}));
      throw new ServerError(answer.status, problem.detail ?? `The server answered ${answer.status}.`);
    }
    return answer;
  }
}
