// Photographs that survive a reload, in IndexedDB. Without it (private windows of some browsers) they live in memory.

const NAME = "fos_jax";
const STORE = "photographs";
const MOST_KEPT = 4;
const memory = new Map();

const promised = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

async function store(mode) {
  const opening = indexedDB.open(NAME, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: "key" });
  return (await promised(opening)).transaction(STORE, mode).objectStore(STORE);
}

const bare = ({ key, blob, name, picture, width, height, at }) => ({ key, blob, name, picture, width, height, at });

// record: {key, blob, name, picture, width, height}; the oldest beyond a few are dropped.
export async function keepPhotograph(record) {
  memory.set(record.key, record);
  record.at ??= Date.now();
  try {
    await promised((await store("readwrite")).put(bare(record)));
    const all = await promised((await store("readonly")).getAll());
    const old = all.sort((a, b) => b.at - a.at).slice(MOST_KEPT);
    for (const { key } of old) await promised((await store("readwrite")).delete(key));
  } catch (error) {
    console.info("photographs are not kept over a reload:", error);
  }
}

export async function photographOf(key) {
  if (memory.has(key)) return memory.get(key);
  try {
    const record = await promised((await store("readonly")).get(key));
    if (record) memory.set(key, record);
    return record ?? null;
  } catch {
    return null;
  }
}
