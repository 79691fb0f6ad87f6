// Questions before something is changed. `<dialog>` keeps the focus, and Escape closes it.

import { h, announce } from "./dom.js";

/**
 * Asks, and does it. `fields` are `{ name, label, type, value, hint, min }`; `act` gets their values, and its
 * answer is told. A refusal is shown in the dialog.
 */
export function ask({ title, text, fields = [], button, danger = false, act }) {
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const inputs = fields.map((field) => {
    const id = `field-${field.name}`;
    const input = h("input", {
      id, type: field.type, name: field.name, min: field.min, value: field.type === "checkbox" ? null : field.value ?? "",
      checked: field.type === "checkbox" && field.value, placeholder: field.hint,
    });
    const label = field.type === "checkbox"
      ? h("label", { class: "check", for: id }, input, field.label)
      : [h("label", { for: id }, field.label), input];
    return { field, input, node: h("div", { class: "field" }, label) };
  });
  const close = h("button", { type: "button" }, "Close");
  const confirm = h("button", { type: "submit", class: danger ? "danger" : "main" }, button);
  const form = h("form", { method: "dialog" },
    h("h2", { id: "dialog-title" }, title), text ? h("p", {}, text) : null,
    inputs.map((input) => input.node), problem, h("div", { class: "actions" }, close, confirm));
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, form);
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    confirm.disabled = true;
    problem.hidden = true;
    const values = Object.fromEntries(inputs.map(({ field, input }) =>
      [field.name, field.type === "checkbox" ? input.checked : field.type === "number" ? Number(input.value) : input.value.trim()]));
    try {
      announce(await act(values));
      dialog.close();
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
    confirm.disabled = false;
  });
  document.body.append(dialog);
  dialog.showModal();
}
