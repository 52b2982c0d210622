// Talking to the server. An action that got no answer is sent again under the same name, which the server does once.

export class Refusal extends Error {
  constructor(status, message, conflicts) {
    super(message);
    this.status = status;
    this.conflicts = conflicts;
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function fetchJson(path, options, onTrouble) {
  for (let attempt = 0; ; attempt++) {
    let response;
    try {
      response = await fetch(path, options);
    } catch (error) {
      if (attempt >= 20) throw new Refusal(0, "the server does not answer: start it again, then reload this page", []);
      if (attempt === 1) onTrouble("The server does not answer. What was shown as done is stored. Trying again…");
      await pause(Math.min(200 * 2 ** attempt, 3000));
      continue;
    }
    const body = await response.json().catch(() => ({ error: `answer ${response.status} without JSON` }));
    if (attempt > 1) onTrouble("");
    if (!response.ok) throw new Refusal(response.status, body.error, body.conflicts || []);
    return body;
  }
}

export class Api {
  constructor(onTrouble) {
    this.onTrouble = onTrouble;
    this.annotator = "";
    this.last = Promise.resolve();
  }

  get(path, parameters = {}) {
    const query = new URLSearchParams({ annotator: this.annotator, ...parameters });
    return fetchJson(`${path}?${query}`, {}, this.onTrouble);
  }

  // One action after the other, in the order of the keys.
  act(kind, parameters, revisions) {
    const request = crypto.randomUUID();
    const body = JSON.stringify({ annotator: this.annotator, kind, parameters, revisions, request });
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body };
    this.last = this.last.catch(() => {}).then(() => fetchJson("/api/actions", options, this.onTrouble));
    return this.last;
  }
}
