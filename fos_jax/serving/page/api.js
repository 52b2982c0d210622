// Talking to the service: it waits and tries again where that helps, and hands in a photograph anew where it was forgotten.

export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const AWAY = "The service does not answer. Start it again (fos serve); this page goes on by itself.";
const MOST_TRIES = 40;

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

export class Api {
  // onTrouble(text) tells what is waited for, onTrouble("") that it is over.
  constructor(onTrouble) {
    this.onTrouble = onTrouble;
    this.key = sessionStorage.getItem("fos.key") || "";
  }

  setKey(key) {
    this.key = key;
    sessionStorage.setItem("fos.key", key);
  }

  async request(path, { signal, ...options } = {}) {
    const headers = { ...(this.key && { "X-API-Key": this.key }), ...options.headers };
    let isTroubled = false;
    for (let attempt = 0; ; attempt++) {
      let response = null;
      try {
        response = await fetch(path, { ...options, headers, signal });
      } catch (error) {
        if (signal?.aborted) throw error;
        if (attempt >= MOST_TRIES) throw new Refusal(0, AWAY);
        if (attempt) this.onTrouble(AWAY);
        isTroubled = true;
        await pause(Math.min(250 * 2 ** attempt, 3000), signal);
        continue;
      }
      if ((response.status === 429 || response.status === 503) && attempt < MOST_TRIES) {
        const wait_s = Math.min(Math.max(Number(response.headers.get("Retry-After")) || 1, 0.2), 30);
        this.onTrouble(`The service is busy. Trying again in ${Math.ceil(wait_s)} s…`);
        isTroubled = true;
        await pause(1000 * wait_s, signal);
        continue;
      }
      if (isTroubled) this.onTrouble("");
      if (response.ok) return response;
      const body = await response.json().catch(() => ({}));
      throw new Refusal(response.status, body.error || `the service answered ${response.status}`);
    }
  }

  async get(path, parameters = {}, options = {}) {
    const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined));
    return (await this.request(`${path}${query.size ? `?${query}` : ""}`, options)).json();
  }

  post(path, body, options = {}) {
    return this.request(path, { ...options, method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  }

  // One upload of a photograph at a time, however many calls wait for it. record: {blob, name, picture}
  upload(record) {
    record.uploading ??= (async () => {
      const form = new FormData();
      form.append("file", record.blob, record.name);
      try {
        const found = await (await this.request("/api/pictures", { method: "POST", body: form })).json();
        Object.assign(record, { picture: found.picture, width: found.width, height: found.height });
        return found;
      } finally {
        record.uploading = null;
      }
    })();
    return record.uploading;
  }

  // Posts what concerns a photograph; the service may have forgotten it meanwhile.
  async ask(path, record, body, options = {}) {
    if (!record.picture) await this.upload(record);
    try {
      return await this.post(path, { photo: record.picture, ...body }, options);
    } catch (error) {
      if (error.status !== 404 || !/upload|picture|photo/i.test(error.message)) throw error;
      await this.upload(record);
      return this.post(path, { photo: record.picture, ...body }, options);
    }
  }
}
