// Photographs: read from a file, checked against the service's limits, and shown by a small proxy.

const LONGEST_PROXY = 1600;
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

// Errors whose text says what to do.
export class Unusable extends Error {}

export function checkFile(file, limits) {
  if (/^image\/hei[cf]/.test(file.type) || /\.hei[cf]$/i.test(file.name)) {
    throw new Unusable(`${file.name} is HEIC, which is not read here: save it as JPEG and open that (iPhone: Settings, Camera, Formats, Most Compatible).`);
  }
  if (file.type && !file.type.startsWith("image/")) throw new Unusable(`${file.name} is no photograph: open a JPEG, PNG or WebP file.`);
  if (limits.bytes && file.size > limits.bytes) {
    throw new Unusable(`${file.name} has ${megabytes(file.size)}, at most ${megabytes(limits.bytes)} are taken: save it smaller (as JPEG) and open that.`);
  }
}

async function decoded(blob, name) {
  try {
    return await createImageBitmap(blob);
  } catch {
    throw new Unusable(`${name} cannot be read here: open a JPEG, PNG or WebP file.`);
  }
}

// {bitmap, width, height}: a bitmap of at most 1600 px and the size of the upright photograph.
export async function readProxy(blob, name, limits) {
  const full = await decoded(blob, name);
  const { width, height } = full;
  if (limits.pixels && width * height > limits.pixels) {
    full.close();
    throw new Unusable(`${name} has ${Math.round((width * height) / 1e6)} megapixels, at most ${Math.round(limits.pixels / 1e6)} are taken: save it smaller and open that.`);
  }
  const scale = Math.min(1, LONGEST_PROXY / Math.max(width, height));
  if (scale === 1) return { bitmap: full, width, height };
  const size = { resizeWidth: Math.max(1, Math.round(width * scale)), resizeHeight: Math.max(1, Math.round(height * scale)) };
  const bitmap = await createImageBitmap(full, { ...size, resizeQuality: "high" });
  full.close();
  return { bitmap, width, height };
}
