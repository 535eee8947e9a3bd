// A page that ranks by itself: the history stays in this browser and no request carries it.
import { BundleError, openBundle } from "./homebody.js";
import { TRUSTED } from "./publisher.js";

const get = (name) => fetch(`model.hbm/${name}`, { cache: "no-cache", redirect: "error" });
const load = (key, otherwise) => JSON.parse(localStorage.getItem(key)) ?? otherwise;
const save = (key, value) => localStorage.setItem(key, JSON.stringify(value));
const byId = (id) => document.getElementById(id);

let history = load("history", []); // product ids, oldest first

function say(text) {
	byId("status").textContent = text;
}

function button(text, action) {
	const made = document.createElement("button");
	made.type = "button";
	made.textContent = text;
	made.addEventListener("click", action);
	return made;
}

function show(model) {
	const ids = model.recommend(history, { n: 10, hideSeen: true }).map((item) => item.product_id);
	const reasons = model.why(ids, history);
	byId("list").replaceChildren(...ids.map((id, i) => {
		const row = document.createElement("li"), reason = document.createElement("small");
		const [cause] = reasons[i];
		reason.textContent = cause ? ` because you chose ${cause.product_id} ` : " popular ";
		row.append(id, reason, button("Choose", () => remember(model, [...history, id])));
		return row;
	}));
}

function remember(model, changed) {
	history = changed.slice(-64);
	save("history", history);
	show(model);
}

async function start() {
	const now = Math.max(Date.now() / 1000, load("clock", 0)); // time that went back is not believed
	save("clock", now);
	const installed = load("model", null); // serial, digest and floor: an older model is refused
	try {
		const model = await openBundle(get, { trusted: TRUSTED, now, installed });
		save("model", model.state);
		say(`Model ${model.manifest.version}: ${model.manifest.privacy.statement ?? "no statement"}`);
		byId("forget").addEventListener("click", () => remember(model, []));
		show(model);
	} catch (error) {
		say(error instanceof BundleError ? `No list: ${error.message}` : "No list: check publisher.js");
	}
}

start();
