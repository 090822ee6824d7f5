/** Elements in a line of code. */

/**
 * @param {string} tag `tag.class.class`
 * @param {Record<string, any>} [properties] `on…` are listeners, `data` a dataset, names with `-` and `role`, `for` attributes, others properties; undefined ones are left out
 * @param {...(Node|string|null|undefined|false)} children
 * @returns {any}
 */
export function h(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split('.');
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(' ');
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (key === 'data') Object.assign(element.dataset, value);
    else if (key.includes('-') || key === 'role' || key === 'for') element.setAttribute(key, String(value));
    else /** @type {any} */ (element)[key] = value;
  }
  element.append(.../** @type {(Node|string)[]} */ (children.filter((child) => child !== null && child !== undefined && child !== false)));
  return element;
}

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/** @param {string} text said by screen readers */
export function announce(text) {
  byId('announcer').textContent = text;
}

/**
 * A question over the page.
 *
 * @param {{title: string, text?: string, value?: string, yes: string, no: string, danger?: boolean}} question with `value`: asks for text
 * @returns {Promise<string|null>} the text, '' where none was asked for; null: no
 */
export function askPerson({ title, text, value, yes, no, danger = false }) {
  const dialog = byId('ask');
  const field = value === undefined ? null : h('input', { type: 'text', value, maxLength: 64, required: true, 'aria-labelledby': 'ask-title', autocomplete: 'off' });
  return new Promise((resolve) => {
    /** @type {string|null} */
    let answer = null;
    const form = h(
      'form',
      {
        onsubmit: (/** @type {Event} */ event) => {
          event.preventDefault();
          answer = field ? field.value : '';
          dialog.close();
        },
      },
      h('h2', { id: 'ask-title' }, title),
      text && h('p', {}, text),
      field,
      h('div.row', {}, h('button.button', { type: 'button', onclick: () => dialog.close() }, no), h(`button.button.primary${danger ? '.danger' : ''}`, { type: 'submit' }, yes)),
    );
    dialog.replaceChildren(form);
    dialog.addEventListener('close', () => resolve(answer), { once: true });
    dialog.showModal();
    field?.select();
  });
}
