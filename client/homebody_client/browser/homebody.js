// homebody in a browser: verify a bundle, rank, say why; the lists are the Python client's.

const TYPE = "application/vnd.homebody.bundle+json";
const FILES = ["model.safetensors", "items.json", "golden.json", "card.json"];

/** A bundle not to use: keep the model you have. `step`, from 1, failed. */
export class BundleError extends Error {
	constructor(step, reason) {
		super(`bundle refused at step ${step}: ${reason}`);
		this.step = parseInt(step);
	}
}

/**
 * get: `(name) => Response` of a file; trusted: Ed25519 keys, hex; threshold: how many must sign;
 * now: Unix seconds, never less than before; floor: least serial; installed: last model's `state`.
 */
export async function openBundle(get, { trusted, threshold = 1, now, floor = 0, installed }) {
	const keys = new Map();
	for (const raw of trusted.map(Uint8Array.fromHex)) {
		const key = await crypto.subtle.importKey("raw", raw, "Ed25519", false, ["verify"]);
		keys.set(await sha256(raw), key);
	}
	const last = installed ?? { serial: 0, floor: 0 }, least = Math.max(floor, last.floor);
	let step = "1 (size and type)";
	try {
		const signed = await read(get, "manifest.json", 1 << 20);
		const { signatures } = check(parse(await read(get, "manifest.sig.json", 1 << 16)), {
			payloadType: is(TYPE), signatures: list({ keyid: text, sig: base64 }, 1, 16) });
		step = "2 (signature)";
		const head = `DSSEv1 ${TYPE.length} ${TYPE} ${signed.length} `, good = new Set();
		const message = await new Blob([head, signed]).arrayBuffer();
		for (const { keyid, sig } of signatures) {
			const key = keys.get(keyid);
			if (key && await crypto.subtle.verify("Ed25519", key, base64(sig), message)) good.add(keyid);
		}
		need(good.size >= Math.max(1, threshold), "too few trusted keys");
		step = "3 (JSON)";
		const manifest = parse(signed);
		step = "4 (schema)";
		checkManifest(manifest);
		step = "5 (serial)";
		const { arch, serial, min_serial, files } = manifest, digest = await sha256(signed);
		need(serial >= Math.max(least, last.serial, min_serial), `${serial} is too old`);
		need(serial !== last.serial || digest === last.digest, "other content");
		step = "6 (expiry)";
		const stale = !(now && now <= manifest.expires);
		need(!stale || digest === last.digest, "expired");
		step = "7 (files)";
		const [model, items, golden] = await readFiles(get, files);
		step = "8 (tensors)";
		const tensors = readTensors(model, arch);
		step = "9 (items)";
		const { ids } = check(parse(items), { ids: list(text, arch.n_items, arch.n_items) });
		need(new Set(ids).size === ids.length, "one twice");
		step = "10 (values)";
		const { b, scale = [], E = [] } = tensors;
		need(b.every((v) => Math.abs(v) <= 1e4) && scale.every((v) => v > 0 && v <= 100) &&
			!E.includes(-128), "too large");
		step = "11 (golden lists)";
		const client = makeClient(arch, ids, tensors, parse(golden, true));
		const state = { serial, digest, floor: Math.max(least, min_serial) };
		return { ...client, manifest, state, stale };
	} catch (error) {
		throw new BundleError(step, error instanceof SyntaxError ? "malformed" : error.message);
	}
}

function makeClient(arch, ids, { b, scale = b, E = b }, golden) {
	const { dim, ridge, repeat = 0 } = arch, index = new Map(ids.map((id, i) => [id, i]));
	const known = (names) => names.map((id) => index.get(id)).filter((i) => i >= 0);
	const rowOf = (i) => Float32Array.from(E.subarray(i * dim, i * dim + dim), (v) => v * scale[i]);
	const system = new Float64Array(ridge && dim * dim); // ridge I + unseen_weight table^T table
	for (let d = 0; d < system.length; d += dim + 1) system[d] = ridge;
	if (ridge) ids.forEach((_, i) => addSquare(system, rowOf(i), +arch.unseen_weight));

	const slotsOf = (history) => history.slice(-arch.history_max).reverse() // [item, weight]
		.map((i, age) => [i, arch.history_decay ** age]);

	function userOf(slots, strength) { // and own shares
		need(strength >= 0 && strength <= 100, "strength: 0 to 100");
		const user = new Float64Array(dim), A = system.slice(), own = {}, gain = strength / 100;
		const sum = ridge ? 1 : slots.reduce((total, [, w]) => total + w, 1e-6);
		for (const [i, w] of slots) {
			const row = rowOf(i);
			row.forEach((v, d) => { user[d] += w / sum * v; });
			if (ridge) addSquare(A, row, w);
			if (repeat) own[i] = (own[i] ?? 0) + gain * repeat * w / sum;
		}
		if (ridge) solve(A, user);
		user.forEach((v, d) => { user[d] = Math.fround(gain * v); });
		return [user, own];
	}

	function scoresOf(history, strength) {
		const [user, own] = userOf(slotsOf(history), strength), n = ids.length, scores = b.slice();
		for (let k = 0; k < n; k += 4) { // four sums at once
			const i = Math.max(0, Math.min(k, n - 4));
			let p = 0, q = 0, r = 0, s = 0;
			for (let d = 0, at = i * dim; d < dim; d++, at++) {
				const u = user[d];
				p += E[at] * u;
				q += E[at + dim] * u;
				r += E[at + 2 * dim] * u;
				s += E[at + 3 * dim] * u;
			}
			scores[i] = b[i] + p * scale[i];
			scores[i + 1] = b[i + 1] + q * scale[i + 1];
			scores[i + 2] = b[i + 2] + r * scale[i + 2];
			scores[i + 3] = b[i + 3] + s * scale[i + 3];
		}
		for (const i in own) scores[i] += own[i];
		return scores;
	}

	/**
	 * The best for a history of ids, oldest first. strength: 0 (one list for all) to 100; hideSeen:
	 * history only where nothing else is left; adjust: `{id: number}`, -1e9 hides.
	 */
	function recommend(history, { n = 10, strength = 100, hideSeen, adjust = {} } = {}) {
		need(whole(1)(n), "n: from 1");
		const items = known(history), scores = scoresOf(items, strength);
		const hidden = new Set(), seen = new Set(hideSeen && items);
		for (const id in adjust) {
			scores[index.get(id)] += adjust[id];
			if (adjust[id] <= -5e8) hidden.add(index.get(id));
		}
		const best = top(scores, n, (i) => !hidden.has(i) && !seen.has(i));
		best.push(...top(scores, n - best.length, (i) => !hidden.has(i) && seen.has(i)));
		return best.map((i) => ({ product_id: ids[i], score: scores[i] }));
	}

	/** For each id, what its score falls by without an item of the history. */
	function why(names, history, { strength = 100 } = {}) {
		const slots = slotsOf(known(history)), all = userOf(slots, strength);
		const causes = [...new Set(slots.map(([i]) => i))].sort((i, j) => i - j)
			.map((cause) => [ids[cause], userOf(slots.filter(([i]) => i !== cause), strength)]);
		const score = (i, [user, own]) =>
			rowOf(i).reduce((sum, v, d) => sum + v * user[d], own[i] ?? 0);
		return names.map((id) => causes.map(([product_id, less]) =>
			({ product_id, drop: score(index.get(id), all) - score(index.get(id), less) }))
			.filter(({ drop }) => drop > 0).sort((x, y) => y.drop - x.drop));
	}

	const n = Math.min(10, ids.length), item = whole(0, ids.length - 1);
	const form = { history: list(item, 0, 1000), top: list(item, n, n),
		scores: list(Number.isFinite, n, n) };
	for (const { history, top: items, scores: wanted } of
		check(golden, { cases: list(form, 1, 100) }).cases) {
		const scores = scoresOf(history, 100), most = 1e-5 * Math.max(1, ...wanted.map(Math.abs));
		const near = (i, rank) => Math.abs(scores[i] - wanted[rank]) <= most;
		need(new Set(items).size === n && items.every(near) && top(scores, n, isFinite).every(near),
			"other lists");
	}
	return { recommend, why };
}

function addSquare(A, row, weight) { // A += weight row row^T
	for (let i = 0, at = 0; i < row.length; i++) {
		for (let j = 0; j < row.length; j++) A[at++] += weight * row[i] * row[j];
	}
}

function solve(A, x) { // x = A^-1 x; A is positive definite
	const n = x.length;
	for (let k = 0; k < n; k++) {
		for (let i = 0; i < n; i++) {
			const f = (i !== k) * A[i * n + k] / A[k * n + k];
			for (let j = k; j < n; j++) A[i * n + j] -= f * A[k * n + j];
			x[i] -= f * x[k];
		}
	}
	for (let k = 0; k < n; k++) x[k] /= A[k * n + k];
}

function top(scores, k, visible) { // the k best in the order (-score, index)
	const best = [];
	for (let i = 0; k && i < scores.length; i++) {
		need(Math.abs(scores[i]) < Infinity, "not finite");
		if (best.length === k && scores[i] <= scores[best[k - 1]] || !visible(i)) continue;
		let at = Math.min(best.length, k - 1);
		for (; at && scores[best[at - 1]] < scores[i]; at--) best[at] = best[at - 1];
		best[at] = i;
	}
	return best;
}

async function read(get, name, most) { // into memory of our own
	const { ok, body } = await get(name);
	need(ok, `${name} is not there`);
	const data = new Uint8Array(most), reader = body.getReader();
	for (let size = 0; ;) {
		const { value } = await reader.read();
		if (!value) return data.slice(0, size);
		data.set(value, size); // throws if too long
		size += value.length;
	}
}

function readFiles(get, files) { // the bytes hashed are those returned
	const names = Object.keys(files);
	need(FILES.every((name) => files[name]) &&
		names.every((name) => /^[A-Za-z0-9][\w.-]{0,99}$/.test(name)), "too few, or not bare names");
	return Promise.all([...new Set([...FILES, ...names])].map(async (name) => {
		const { size, sha256: wanted } = files[name], data = await read(get, name, size);
		need(data.length === size && await sha256(data) === wanted, `${name} is not what was signed`);
		return data;
	}));
}

function checkManifest(manifest) {
	const dim = whole(1, 4096), own = { none: { dim: is(0) }, mean: { dim },
		"mean-repeat": { dim, repeat: decimal(1e4) },
		ridge: { dim, ridge: decimal(1e6), unseen_weight: decimal(1e6, 0) } };
	check({ eval: [], ...manifest }, {
		schema: is(1), model_id: text, version: text, serial: whole(1), min_serial: whole(1),
		created: whole(1), expires: whole(manifest.created), privacy: isObject,
		arch: { encoder: (v) => Object.hasOwn(own, v), n_items: whole(1, 1e7), hidden: is(0),
			history_max: whole(1, 64), history_decay: decimal(1), n_context: is(0),
			quant: is("int8-row"), ...own[manifest.arch?.encoder] },
		catalog: { version: text, sha256: digest }, eval: list(isObject),
		files: (v) => list({ sha256: digest, size: whole(0, 1 << 28) })(Object.values(v)) });
}

function readTensors(data, { n_items: n, dim }) { // without a gap
	const start = 8 + Number(new BigUint64Array(data.buffer, 0, 1)[0]), tensors = {}, header = {};
	let end = 0;
	for (const name of dim ? ["b", "scale", "E"] : ["b"]) {
		const [dtype, shape, View] =
			name === "E" ? ["I8", [n, dim], Int8Array] : ["F32", [n], Float32Array];
		const view = tensors[name] = new View(data.buffer, start + end, n * (shape[1] ?? 1));
		header[name] = { dtype, shape, data_offsets: [end, end += view.byteLength] };
	}
	need(is(header)(parse(data.subarray(8, start))) && start + end === data.length, "not of arch");
	return tensors;
}

function parse(data, floats) { // no key twice and, unless `floats`, no decimal
	const json = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
	const bare = json.replace(/"[^"\\]*(?:\\.[^"\\]*)*"/g, '"');
	let keys = bare.split(/"\s*:/).length; // and the root
	const parsed = JSON.parse(json, function (_, value) {
		keys -= !Array.isArray(this);
		return value;
	});
	need(!keys && (floats || !/\d[.eE]/.test(bare)), "double key or decimal");
	return parsed;
}

// A form is a predicate, or an object of forms: exactly these keys.
function check(value, form, name = "a file") {
	const keys = typeof form === "object" && Object.keys(form);
	need(keys ? isObject(value) && Object.keys(value).length === keys.length : form(value),
		`${name} is malformed`);
	for (const key of keys || []) check(value[key], form[key], key);
	return value;
}

const isObject = (v) => v && typeof v === "object" && !Array.isArray(v);
const is = (wanted) => (v) => JSON.stringify(v) === JSON.stringify(wanted);
const text = (v) => v && typeof v === "string";
const base64 = Uint8Array.fromBase64;
const digest = (v) => /^[0-9a-f]{64}$/.test(v);
const whole = (least, most = 2 ** 53 - 1) => (v) => Number.isInteger(v) && v >= least && v <= most;
const decimal = (most, least = 1e-99) => (v) =>
	text(v) && /^\d{1,20}(\.\d{1,400})?$/.test(v) && v >= least && v <= most;
const list = (form, least = 0, most = 1e9) => (v) => Array.isArray(v) && v.length >= least &&
	v.length <= most && v.every((entry) => [check(entry, form)]);
const sha256 = async (data) => new Uint8Array(await crypto.subtle.digest("SHA-256", data)).toHex();

function need(condition, message) {
	if (!condition) throw new Error(message);
}
