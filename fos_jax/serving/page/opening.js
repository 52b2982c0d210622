// Ways in which photographs come: a file, a drop, a paste, the camera, an example, and what was open before a reload.

import { byId } from "/page/shared/dom.js";
import { say, tell } from "./notice.js";
import { checkFile, readProxy, Unusable } from "./photograph.js";
import { keepPhotograph, photographOf } from "./storage.js";
import { exampleAddress } from "./welcome.js";
import { newName } from "./work.js";

export class Opening {
  // gallery() gives the limits; on: {failed(error)}
  constructor(work, gallery, on) {
    Object.assign(this, { work, gallery, on });
    for (const id of ["file", "shot"]) {
      byId(id).addEventListener("change", (event) => {
        const [file] = event.target.files;
        event.target.value = ""; // the same file may be opened again
        if (file) this.open(file);
      });
    }
    addEventListener("dragover", (event) => {
      event.preventDefault();
      byId("stage").classList.add("over");
    });
    addEventListener("dragleave", (event) => event.relatedTarget || byId("stage").classList.remove("over"));
    addEventListener("drop", (event) => {
      event.preventDefault();
      byId("stage").classList.remove("over");
      const [file] = event.dataTransfer.files;
      if (file) this.open(file);
      else tell("Nothing that was dropped is a file: save the picture first, then drop or open it.");
    });
    addEventListener("paste", (event) => {
      const file = [...event.clipboardData.files].find(({ type }) => type.startsWith("image/"));
      if (!file) return;
      event.preventDefault();
      this.open(file);
    });
  }

  choose() {
    byId("file").click();
  }

  shoot() {
    byId("shot").click();
  }

  async open(file, more = {}) {
    const limits = this.gallery()?.limits ?? {};
    const name = file.name || "photograph";
    try {
      checkFile(file, limits);
      const { bitmap, width, height } = await readProxy(file, name, limits);
      const record = { key: newName(), blob: file, name, width, height, proxy: bitmap, picture: "" };
      await keepPhotograph(record);
      this.work.change({ photo: { key: record.key, name, width, height }, box: null, slot: "", layers: [], wanted: {}, ...more });
      say(`Opened ${name}, ${width} × ${height} pixels.`);
    } catch (error) {
      if (error instanceof Unusable) tell(error.message, { kind: "bad", lasts_ms: 0 });
      else this.on.failed(error);
    }
  }

  async example(api, example) {
    try {
      const blob = await (await api.request(exampleAddress(example))).blob();
      const file = new File([blob], `${example.id}.${blob.type.split("/")[1] ?? "png"}`, { type: blob.type });
      await this.open(file, { category: example.category, box: example.box, slot: newName() });
    } catch (error) {
      this.on.failed(error);
    }
  }

  // The record of a photograph of the history, with a proxy; null where there is none.
  async recordOf(photo) {
    if (!photo) return null;
    const record = await photographOf(photo.key);
    if (!record) {
      tell(`${photo.name} is not kept any more: open it again.`, { lasts_ms: 0 });
      return null;
    }
    try {
      record.proxy ??= (await readProxy(record.blob, record.name, {})).bitmap;
    } catch (error) {
      tell(error.message, { kind: "bad" });
      return null;
    }
    return record;
  }

  remember(record) {
    return keepPhotograph(record);
  }
}
