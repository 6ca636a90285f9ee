// Tells the page whether it is the owner's: html[data-owner], which page.css hides things by.

import { connection, onOwnerToken, ownerToken } from "./page_state.js";

async function ask() {
  const reply = await connection.deliver("page_owner", { owner: ownerToken() }, { tries: 20 });
  document.documentElement.dataset.owner = String(reply.owner === true);
  dispatchEvent(new Event("digitcnn-owner-known"));
}

class OwnerElement extends HTMLElement {
  connectedCallback() {
    if (this.dataset.started) return;
    this.dataset.started = "true";
    ask();
    onOwnerToken(ask);
  }
}

customElements.define("digitcnn-owner", OwnerElement);
