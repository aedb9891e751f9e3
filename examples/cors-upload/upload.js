// Uploads files from a browser straight to a container of a Swift object store.
//
//   Store       where to and as whom: makes URLs and headers, and turns what goes wrong into an Error that
//               says what to do
//   Upload      one file on its way: progress, cancel
//   Listing     what is in the container, with previews
//
// A page of another origin needs the store's permission. It is the container's to give:
//
//   swift post CONTAINER -H 'X-Container-Meta-Access-Control-Allow-Origin: https://page.example'

const byId = (id) => document.getElementById(id);
const PREVIEW_BYTES = 4 << 20;
const PAGE = 1000; // objects in the listing

// --- the store ---------------------------------------------------------------------------------------

class Store {
  /** `container` is a URL without a slash at its end; `token` and `signature` (a query string) may be "". */
  constructor(container, token = "", signature = "", prefix = "") {
    this.container = container;
    this.token = token;
    this.signature = signature;
    this.prefix = prefix; // that names of uploads begin with
  }

  static async connect(fields) {
    if (fields.way === "tempurl") {
      const url = new URL(fields.tempurl);
      const prefix = url.searchParams.get("temp_url_prefix");
      if (prefix === null) {
        throw new Error("This temporary URL is for one name. Make one for many: swift tempurl --prefix-based PUT …");
      }
      const [, version, account, container] = url.pathname.split("/");
      return new Store(`${url.origin}/${version}/${account}/${container}`, "", url.search, prefix);
    }
    let { storage, token } = fields;
    if (fields.way === "login") ({ storage, token } = await Store.logIn(fields));
    return new Store(`${storage.replace(/\/+$/, "")}/${encodeURIComponent(fields.container)}`, token);
  }

  /** Version 1 of the API: every Swift has it, and so has miniswift's identity service. */
  static async logIn({ auth, user, key }) {
    let answer;
    try {
      answer = await fetch(auth, { headers: { "X-Auth-User": user, "X-Auth-Key": key } });
    } catch {
      throw new Error(
        `The browser may not read what ${auth} says. Its operator can let this page in: cors_allow_origin = ${location.origin}`,
      );
    }
    if (!answer.ok) throw new Error(`${answer.status}: the name or the password is wrong.`);
    const [storage, token] = ["X-Storage-Url", "X-Auth-Token"].map((name) => answer.headers.get(name));
    return { storage, token };
  }

  get name() {
    return decodeURIComponent(this.container.split("/").pop());
  }

  get headers() {
    return this.token ? { "X-Auth-Token": this.token } : {};
  }

  url(name) {
    return `${this.container}/${name.split("/").map(encodeURIComponent).join("/")}`;
  }

  uploadUrl(file) {
    return this.url(this.prefix + file.name) + this.signature;
  }

  /** The answer to a request about an object, or about the container. Throws an Error to show. */
  async ask(method, name = "", query = "") {
    const url = (name ? this.url(name) : this.container) + query;
    let answer;
    try {
      answer = await fetch(url, { method, headers: this.headers, cache: "no-store" });
    } catch {
      throw new Error(this.explain(0));
    }
    if (!answer.ok) throw new Error(this.explain(answer.status));
    return answer;
  }

  /** What a status means here, and what to do about it; 0 is an answer that the browser keeps from us. */
  explain(status) {
    const { name } = this;
    const reasons = {
      0: `The store cannot be reached, or does not let pages of ${location.origin} in. Let them in: ` +
         `swift post ${name} -H "X-Container-Meta-Access-Control-Allow-Origin: ${location.origin}"`,
      401: this.signature ? "The temporary URL is not valid, or has expired. Ask for another."
                          : "The token is not valid, or has expired. Sign in again.",
      403: `You may not do this in ${name}. Its owner can allow it: swift post ${name} --write-acl … --read-acl …`,
      404: `There is no container ${name}, or no such object. Make the container: swift post ${name}`,
      408: "The connection was too slow.",
      413: "This is more than the store takes: the file is too big, or the quota is used up.",
      422: "The file arrived damaged. Try again.",
      503: "The store cannot do this now. Try again.",
      507: "The store is full.",
    };
    return `${status ? `${status}: ` : ""}${reasons[status] ?? "The store refused."}`;
  }
}

// --- uploads -----------------------------------------------------------------------------------------

class Upload {
  constructor(store, file, onDone) {
    this.store = store;
    this.file = file;
    this.onDone = onDone;
    this.element = byId("upload").content.cloneNode(true).firstElementChild;
    this.part(".name").textContent = file.name;
    this.part(".cancel").addEventListener("click", () => this.request.abort());
    byId("uploads").prepend(this.element);
  }

  start() {
    // Not fetch: it does not tell how much has been sent.
    const request = (this.request = new XMLHttpRequest());
    request.open("PUT", this.store.uploadUrl(this.file));
    for (const [name, value] of Object.entries(this.store.headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => this.show("", `${percent(event)} %`, percent(event));
    request.onload = () => {
      if (request.status !== 201) return this.show("failed", this.store.explain(request.status));
      this.show("done", `done, ${size(this.file.size)}`, 100);
      this.onDone();
    };
    request.onerror = () => this.show("failed", this.store.explain(0));
    request.onabort = () => this.show("failed", "cancelled; nothing was stored");
    this.show("", "0 %", 0);
    request.send(this.file);
  }

  show(kind, state, value) {
    this.element.className = `upload ${kind}`;
    this.part(".state").textContent = state;
    if (value !== undefined) this.part("progress").value = value;
  }

  part(selector) {
    return this.element.querySelector(selector);
  }
}

const percent = (event) => Math.floor((100 * event.loaded) / (event.total || 1));

// --- the listing -------------------------------------------------------------------------------------

class Listing {
  constructor(store) {
    this.store = store;
  }

  async refresh() {
    let rows;
    try {
      rows = await (await this.store.ask("GET", "", `?format=json&limit=${PAGE}`)).json();
    } catch (error) {
      // Who may upload need not be allowed to look: that is no error with a temporary URL.
      if (!this.store.signature) say(error.message);
      return;
    }
    say("");
    byId("where").open = false;
    byId("empty").hidden = rows.length > 0;
    byId("objects").replaceChildren(...rows.map((row) => this.item(row)));
  }

  item(row) {
    const element = byId("object").content.cloneNode(true).firstElementChild;
    const name = element.querySelector(".name");
    name.textContent = row.name;
    name.href = this.store.url(row.name);
    name.download = row.name.split("/").pop();
    if (this.store.token) name.addEventListener("click", (event) => this.download(event, row));
    const when = new Date(`${row.last_modified}Z`).toLocaleString();
    element.querySelector(".details").textContent = `${size(row.bytes)}, ${when}`;
    element.querySelector(".delete").hidden = !this.store.token;
    element.querySelector(".delete").addEventListener("click", () => this.remove(row));
    this.preview(row, element.querySelector(".preview"));
    return element;
  }

  async preview(row, place) {
    const kind = row.content_type.split("/")[0];
    if (!["image", "text"].includes(kind) || row.bytes > PREVIEW_BYTES) return;
    try {
      const blob = await (await this.store.ask("GET", row.name)).blob();
      const shown = document.createElement(kind === "image" ? "img" : "pre");
      if (kind === "text") shown.textContent = (await blob.text()).slice(0, 400);
      else shown.src = URL.createObjectURL(blob);
      shown.alt = "";
      shown.onload = () => URL.revokeObjectURL(shown.src);
      place.replaceChildren(shown);
    } catch {
      // A preview that cannot be had is an empty box.
    }
  }

  /** A link cannot carry a token, so the page fetches the object and hands it on. */
  async download(event, row) {
    event.preventDefault();
    try {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await (await this.store.ask("GET", row.name)).blob());
      link.download = row.name.split("/").pop();
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    } catch (error) {
      say(error.message);
    }
  }

  async remove(row) {
    try {
      await this.store.ask("DELETE", row.name);
      await this.refresh();
    } catch (error) {
      say(error.message);
    }
  }
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(bytes || 1) / 10));
  return `${(bytes / 1024 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}

// --- the page ----------------------------------------------------------------------------------------

let store;
let listing;

function say(message) {
  byId("message").textContent = message;
  byId("message").hidden = !message;
}

function showWay() {
  const way = byId("access").elements.way.value;
  for (const part of document.querySelectorAll("[data-way]")) part.hidden = !part.dataset.way.split(" ").includes(way);
}

async function connect() {
  say("");
  try {
    store = await Store.connect(Object.fromEntries(new FormData(byId("access"))));
  } catch (error) {
    return say(error.message);
  }
  listing = new Listing(store);
  byId("where").querySelector("summary").textContent = `To ${store.name} at ${new URL(store.container).host}`;
  byId("files").hidden = false;
  await listing.refresh();
}

function send(files) {
  for (const file of files) new Upload(store, file, () => listing.refresh()).start();
}

byId("access").addEventListener("change", showWay);
byId("access").addEventListener("submit", (event) => {
  event.preventDefault();
  connect();
});
byId("picker").addEventListener("change", (event) => {
  send(event.target.files);
  event.target.value = "";
});
byId("refresh").addEventListener("click", () => listing.refresh());
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  byId("drop").addEventListener(name, (event) => {
    event.preventDefault();
    byId("drop").classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name === "drop") send(event.dataTransfer.files);
  });
}

// What stands behind the # of the page's address is filled in; with everything given, it connects at once.
const given = new URLSearchParams(location.hash.slice(1));
for (const [name, value] of given) {
  if (byId("access").elements[name]) byId("access").elements[name].value = value;
}
showWay();
if (given.has("tempurl") || given.has("token")) connect();
