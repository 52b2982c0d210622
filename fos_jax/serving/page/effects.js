// A quick likeness of what the service does with a kept foreground: colours toward the surroundings, a contact shadow.

const MARGIN = 0.5; // of the longer side, around the rectangle
const MOST_GAIN = 1.5;
const LONGEST = 512;

const canvasOf = (width, height) => Object.assign(document.createElement("canvas"), { width: Math.max(1, Math.round(width)), height: Math.max(1, Math.round(height)) });

function statistics(data, isUsed) {
  const [sum, squares] = [[0, 0, 0], [0, 0, 0]];
  let count = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (!isUsed(data, i)) continue;
    count++;
    for (let c = 0; c < 3; c++) {
      sum[c] += data[i + c];
      squares[c] += data[i + c] ** 2;
    }
  }
  if (!count) return null;
  const mean = sum.map((value) => value / count);
  return { mean, deviation: squares.map((value, c) => Math.sqrt(Math.max(value / count - mean[c] ** 2, 0))) };
}

// Of the photograph around a box; `small` is a little copy of it, `scale` its pixels per pixel of the photograph.
function surroundings(small, scale, box) {
  const [x0, y0, x1, y1] = box.map((value) => value * scale);
  const margin = Math.max(2, MARGIN * Math.max(x1 - x0, y1 - y0));
  const left = Math.max(0, Math.floor(x0 - margin));
  const top = Math.max(0, Math.floor(y0 - margin));
  const width = Math.min(small.width, Math.ceil(x1 + margin)) - left;
  const height = Math.min(small.height, Math.ceil(y1 + margin)) - top;
  if (width < 1 || height < 1) return null;
  const { data } = small.getContext("2d").getImageData(left, top, width, height);
  return statistics(data, (_, i) => {
    const [x, y] = [left + ((i / 4) % width), top + Math.floor(i / 4 / width)];
    return x < x0 || x >= x1 || y < y0 || y >= y1;
  });
}

export function smallCopy(bitmap) {
  const scale = Math.min(1, 256 / Math.max(bitmap.width, bitmap.height));
  const small = canvasOf(bitmap.width * scale, bitmap.height * scale);
  small.getContext("2d", { willReadFrequently: true }).drawImage(bitmap, 0, 0, small.width, small.height);
  return small;
}

export function harmonised(image, small, scale, box, strength) {
  const ratio = Math.min(1, LONGEST / Math.max(image.width, image.height));
  const out = canvasOf(image.width * ratio, image.height * ratio);
  const context = out.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, out.width, out.height);
  const target = surroundings(small, scale, box);
  const pixels = context.getImageData(0, 0, out.width, out.height);
  const own = statistics(pixels.data, (data, i) => data[i + 3] > 127);
  if (!target || !own) return out;
  const gain = own.deviation.map((value, c) => Math.min(Math.max(target.deviation[c] / Math.max(value, 1e-3), 1 / MOST_GAIN), MOST_GAIN));
  const { data } = pixels;
  for (let i = 0; i < data.length; i += 4) {
    for (let c = 0; c < 3; c++) {
      const moved = (data[i + c] - own.mean[c]) * gain[c] + target.mean[c];
      data[i + c] += strength * (moved - data[i + c]);
    }
  }
  context.putImageData(pixels, 0, 0);
  return out;
}

export function drawShadow(context, [x0, y0, x1, y1], strength) {
  const [width, height] = [x1 - x0, y1 - y0];
  context.save();
  context.translate((x0 + x1) / 2, y1 - height * 0.02);
  context.scale(width * 0.56, Math.max(Math.min(height * 0.09, width * 0.16), 2));
  const shade = context.createRadialGradient(0, 0, 0.1, 0, 0, 1);
  shade.addColorStop(0, `rgba(0, 0, 0, ${0.62 * strength})`);
  shade.addColorStop(0.6, `rgba(0, 0, 0, ${0.28 * strength})`);
  shade.addColorStop(1, "rgba(0, 0, 0, 0)");
  context.fillStyle = shade;
  context.beginPath();
  context.arc(0, 0, 1, 0, 2 * Math.PI);
  context.fill();
  context.restore();
}
