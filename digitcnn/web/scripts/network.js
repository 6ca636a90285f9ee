// From the 28x28 to ten probabilities: a network in plain JavaScript, float32, one image at a time.
// Its layers come as a list, from the input to the logits; batch norms are part of the convolutions
// already. The OOD detector, which rejects non-digits, is a second network of the same form.

/** @typedef {Record<string, Float32Array>} Tensors */

/**
 * Reads the tensors by name from float16 in base64.
 * @param {{ name: string, count: number, scale: number }[]} table in the order of the data
 * @param {string} base64
 */
export function readTensors(table, base64) {
  const text = atob(base64.trim());
  let at = 0;
  /** @type {Tensors} */
  const tensors = {};
  for (const { name, count, scale } of table) {
    const values = new Float32Array(count);
    for (let i = 0; i < count; i += 1, at += 2) {
      values[i] = scale * fromHalf(text.charCodeAt(at) | (text.charCodeAt(at + 1) << 8));
    }
    tensors[name] = values;
  }
  return tensors;
}

/** Returns the value of a finite float16. @param {number} bits */
function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  return sign * (exponent === 0 ? fraction * 2 ** -14 : (1 + fraction) * 2 ** (exponent - 15));
}

/**
 * @typedef {{ kind: "conv", name: string, kernel: number, padding: number }
 *   | { kind: "linear", name: string } | { kind: "pool" | "relu" }} Layer
 * conv: with stride 1; pool: the largest of 2x2, with stride 2
 * @typedef {{ inputMean: number, inputStd: number, temperature: number | null,
 *   threshold: number | null, layers: Layer[], ood: Layer[] }} Model
 * temperature, threshold: null where the checkpoint has no calibration, no OOD detector
 */

/**
 * Returns the ten logits and, with the temperature applied, the ten probabilities, the most
 * probable digit, and whether it is a digit: null without an OOD detector.
 * @param {ArrayLike<number>} pixels 784, 0 to 255, ink high
 * @param {Model} model
 * @param {Tensors} tensors
 */
export function classify(pixels, model, tensors) {
  const input = Float32Array.from(pixels, (pixel) => (pixel - model.inputMean) / model.inputStd);
  const logits = run(input, model.layers, tensors);
  const probabilities = softmax(logits, model.temperature ?? 1);
  const digit = probabilities.indexOf(Math.max(...probabilities));
  return { logits, probabilities, digit, isDigit: passes(pixels, model, tensors) };
}

/**
 * Returns the last layer's output.
 * @param {Float32Array} input [28, 28]
 * @param {Layer[]} layers
 * @param {Tensors} tensors
 */
function run(input, layers, tensors) {
  let values = input;
  let side = 28;
  for (const layer of layers) {
    if (layer.kind === "conv") {
      values = convolve(values, side, ...weightsOf(layer.name, tensors), layer);
      side += 2 * layer.padding - layer.kernel + 1;
    } else if (layer.kind === "linear") {
      values = linear(values, ...weightsOf(layer.name, tensors));
    } else if (layer.kind === "pool") {
      values = pool(values, side);
      side = Math.floor(side / 2);
    } else {
      values = values.map((value) => Math.max(0, value));
    }
  }
  return values;
}

/**
 * Returns a layer's weights and bias.
 * @param {string} name
 * @param {Tensors} tensors
 * @returns {[Float32Array, Float32Array]}
 */
const weightsOf = (name, tensors) => [tensors[`${name}.weight`], tensors[`${name}.bias`]];

/**
 * Returns whether the log odds of "some digit" against "not a digit" reach the threshold.
 * @param {ArrayLike<number>} pixels 784, 0 to 255, ink high
 * @param {Model} model
 * @param {Tensors} tensors
 */
function passes(pixels, { threshold, ood }, tensors) {
  if (threshold === null) return null;
  const input = Float32Array.from(pixels, (pixel) => pixel / 255);
  const logits = run(input, ood, tensors);
  const [digits, none] = [logits.subarray(0, 10), logits[10]];
  const most = Math.max(...digits);
  const sum = digits.reduce((total, logit) => total + Math.exp(logit - most), 0);
  return most + Math.log(sum) - none >= threshold;
}

/**
 * Applies a convolution with zero padding and stride 1.
 * @param {Float32Array} maps [channels, side, side]
 * @param {number} side
 * @param {Float32Array} weights [outputs, channels, kernel, kernel]
 * @param {Float32Array} bias [outputs]
 * @param {{ kernel: number, padding: number }} shape
 * @returns [outputs, new side, new side]
 */
function convolve(maps, side, weights, bias, { kernel, padding }) {
  const channels = maps.length / (side * side);
  const padded = padding ? pad(maps, channels, side, padding) : maps;
  const wide = side + 2 * padding;
  const made = wide - kernel + 1;
  const area = made * made;
  const results = new Float32Array(bias.length * area);
  for (let output = 0; output < bias.length; output += 1) {
    const sums = results.subarray(output * area, (output + 1) * area);
    sums.fill(bias[output]);
    for (let channel = 0; channel < channels; channel += 1) {
      const filter = kernel * kernel * (output * channels + channel);
      if (kernel === 3) addFiltered(sums, made, padded, channel, weights, filter);
      else addTaps(sums, made, padded, channel * wide * wide, wide, weights, filter, kernel);
    }
  }
  return results;
}

/**
 * Takes the largest of each 2x2.
 * @param {Float32Array} maps [channels, side, side]
 * @param {number} side
 */
function pool(maps, side) {
  const half = Math.floor(side / 2);
  const channels = maps.length / (side * side);
  const pooled = new Float32Array(channels * half * half);
  let to = 0;
  for (let channel = 0; channel < channels; channel += 1) {
    for (let y = 0; y < half; y += 1) {
      let at = (channel * side + 2 * y) * side;
      for (let x = 0; x < half; x += 1, at += 2, to += 1) {
        pooled[to] = Math.max(maps[at], maps[at + 1], maps[at + side], maps[at + side + 1]);
      }
    }
  }
  return pooled;
}

/**
 * @param {Float32Array} maps
 * @param {number} channels
 * @param {number} side
 * @param {number} padding
 */
function pad(maps, channels, side, padding) {
  const wide = side + 2 * padding;
  const padded = new Float32Array(channels * wide * wide);
  for (let row = 0; row < channels * side; row += 1) {
    const [channel, y] = [Math.floor(row / side), (row % side) + padding];
    padded.set(maps.subarray(row * side, (row + 1) * side), (channel * wide + y) * wide + padding);
  }
  return padded;
}

/**
 * Adds a filter of any size over one padded map to `sums`, one of its weights after the other.
 * @param {Float32Array} sums [side, side]
 * @param {number} side
 * @param {Float32Array} padded
 * @param {number} start where the map begins in `padded`
 * @param {number} wide side of the padded map
 * @param {Float32Array} weights
 * @param {number} filter where the filter begins in `weights`
 * @param {number} kernel
 */
function addTaps(sums, side, padded, start, wide, weights, filter, kernel) {
  for (let tap = 0; tap < kernel * kernel; tap += 1) {
    const weight = weights[filter + tap];
    const corner = start + Math.floor(tap / kernel) * wide + (tap % kernel);
    for (let y = 0; y < side; y += 1) {
      let from = corner + y * wide;
      for (let at = y * side; at < (y + 1) * side; at += 1, from += 1) {
        sums[at] += weight * padded[from];
      }
    }
  }
}

/**
 * Adds one 3x3 filter over one padded map to `sums`: the innermost loop.
 * @param {Float32Array} sums
 * @param {number} side
 * @param {Float32Array} padded
 * @param {number} channel
 * @param {Float32Array} weights
 * @param {number} filter where the filter begins in `weights`
 */
function addFiltered(sums, side, padded, channel, weights, filter) {
  const a = weights[filter],
    b = weights[filter + 1],
    c = weights[filter + 2];
  const d = weights[filter + 3],
    e = weights[filter + 4],
    f = weights[filter + 5];
  const g = weights[filter + 6],
    h = weights[filter + 7],
    i = weights[filter + 8];
  const wide = side + 2;
  for (let y = 0; y < side; y += 1) {
    let p = (channel * wide + y) * wide;
    let q = p + wide;
    let r = q + wide;
    for (let at = y * side; at < (y + 1) * side; at += 1, p += 1, q += 1, r += 1) {
      sums[at] +=
        a * padded[p] +
        b * padded[p + 1] +
        c * padded[p + 2] +
        d * padded[q] +
        e * padded[q + 1] +
        f * padded[q + 2] +
        g * padded[r] +
        h * padded[r + 1] +
        i * padded[r + 2];
    }
  }
}

/**
 * @param {Float32Array} inputs
 * @param {Float32Array} weights [outputs, inputs], row by row
 * @param {Float32Array} bias
 */
function linear(inputs, weights, bias) {
  return bias.map((start, output) => {
    let sum = start;
    let at = output * inputs.length;
    for (let i = 0; i < inputs.length; i += 1, at += 1) sum += weights[at] * inputs[i];
    return sum;
  });
}

/** @param {Float32Array} logits @param {number} temperature */
function softmax(logits, temperature) {
  const most = Math.max(...logits);
  const shares = Array.from(logits, (logit) => Math.exp((logit - most) / temperature));
  const sum = shares.reduce((total, share) => total + share, 0);
  return shares.map((share) => share / sum);
}
