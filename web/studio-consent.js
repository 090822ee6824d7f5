/** Whose face it is, what they agree to and until when: the part of the form whose words end up in the avatar. */

import { h } from './studio-dom.js';
import { CONSENT, fill } from './studio-texts.js';

/**
 * The server's pieces of the statement; it puts them together the same way, and takes no other words.
 *
 * @typedef {{opening: string, live: {own: string, anybody: string}, clauses: Record<string, string>, nothing_else: string, until: string, no_end: string,
 *   ending: string, usual: string[]}} Pieces
 * @typedef {{subject: string, granted_by: string, purposes: string[], own_driver_only: boolean, expires: string|null}} Choice
 */

/** @param {Pieces} pieces @param {Choice} choice @returns {string} what is agreed to, word for word */
export function statementOf(pieces, choice) {
  const live = choice.purposes.includes('live') ? [choice.own_driver_only ? pieces.live.own : pieces.live.anybody] : [];
  const clauses = Object.entries(pieces.clauses).filter(([purpose]) => choice.purposes.includes(purpose));
  const uses = [...live, ...clauses.map(([, clause]) => clause)].join('; ');
  const end = choice.expires === null ? pieces.no_end : pieces.until.replace('{date}', choice.expires);
  return `${pieces.opening} ${uses}; ${pieces.nothing_else} ${end} ${pieces.ending}`;
}

/** @param {number} months from today @returns {string} that day, such as 2027-01-31, of this browser's calendar */
export function dayIn(months) {
  const today = new Date();
  const day = new Date(today.getFullYear(), today.getMonth() + months, today.getDate());
  if (day.getDate() !== today.getDate()) day.setDate(0); // a month without a 31st
  return [day.getFullYear(), day.getMonth() + 1, day.getDate()].map((part) => String(part).padStart(2, '0')).join('-');
}

/** The fields, and what they say. */
export class ConsentFields {
  /** Of the statement that is shown. */
  chosen = '';

  /** @param {Pieces} pieces */
  constructor(pieces) {
    this.pieces = pieces;
    this.subject = h('input', { type: 'text', id: 'subject', maxLength: 100, required: true, autocomplete: 'name' });
    this.granted = h('input', { type: 'text', id: 'granted', maxLength: 100, autocomplete: 'off' });
    this.me = h('input', { type: 'radio', name: 'who', id: 'who-me', checked: true });
    this.anybody = h('input', { type: 'radio', name: 'driver', id: 'driver-anybody', checked: true });
    this.own = h('input', { type: 'radio', name: 'driver', id: 'driver-own' });
    this.uses = Object.keys(pieces.clauses).map((purpose) => h('input', { type: 'checkbox', value: purpose, id: `for-${purpose}`, checked: pieces.usual.includes(purpose) }));
    this.until = h('select', { id: 'until' }, ...CONSENT.untils.map(({ value, text }) => h('option', { value }, text)));
    this.day = h('input', { type: 'date', id: 'until-day', min: dayIn(0), 'aria-label': CONSENT.untilDay });
    this.statement = h('blockquote', { id: 'statement' });
    this.agree = h('input', { type: 'checkbox', id: 'agree', required: true, 'aria-describedby': 'statement' });
    this.agreeText = h('span');
    this.grantedField = field(this.granted, CONSENT.granted, CONSENT.grantedHint);
    this.update();
  }

  /** What was chosen, as the server takes it. @returns {Choice} */
  get choice() {
    const subject = this.subject.value.trim();
    return {
      subject,
      granted_by: this.me.checked ? subject : this.granted.value.trim(),
      purposes: ['live', ...this.uses.filter((use) => use.checked).map((use) => use.value)],
      own_driver_only: this.own.checked,
      expires: this.until.value === '' ? null : this.until.value === 'day' ? this.day.value || null : dayIn(Number(this.until.value)),
    };
  }

  /** @returns {Record<string, unknown>} part of a wish */
  get wish() {
    return { ...this.choice, agreed: this.agree.checked, statement: this.statement.textContent };
  }

  /** After any change: who is asked for what. Something else, or somebody else, has not been agreed to yet. */
  update() {
    this.grantedField.hidden = this.me.checked;
    this.granted.required = !this.me.checked;
    this.day.hidden = this.until.value !== 'day';
    this.day.required = !this.day.hidden;
    const { granted_by: who } = this.choice;
    this.agreeText.textContent = this.me.checked ? CONSENT.agreeMe : fill(CONSENT.agreeOther, { who: who || CONSENT.somebody });
    const chosen = JSON.stringify(this.choice);
    if (chosen === this.chosen) return;
    this.chosen = chosen;
    this.statement.textContent = statementOf(this.pieces, this.choice);
    this.agree.checked = false;
  }

  /** @returns {Node[]} from whose face it is to the box that they tick */
  get elements() {
    const use = (/** @type {any} */ input) => h('label', {}, input, CONSENT.uses[/** @type {'recordings'} */ (input.value)]);
    const live = h('div.choices', { role: 'radiogroup', 'aria-label': CONSENT.live }, h('span', {}, CONSENT.live), h('label', {}, this.anybody, CONSENT.anybody), h('label', {}, this.own, CONSENT.own));
    const who = h('div.choices', { role: 'radiogroup', 'aria-label': CONSENT.subject }, h('label', {}, this.me, CONSENT.me), h('label', {}, h('input', { type: 'radio', name: 'who', id: 'who-other' }), CONSENT.other));
    return [
      field(this.subject, CONSENT.subject, CONSENT.subjectHint),
      field(this.until, CONSENT.until, undefined, this.day),
      who,
      this.grantedField,
      h('fieldset.uses', {}, h('legend', {}, CONSENT.purposes), live, ...this.uses.map(use)),
      h('div.agreement', {}, h('p', {}, CONSENT.read), this.statement, h('label.agree', {}, this.agree, this.agreeText)),
    ];
  }
}

/** @param {HTMLElement} input @param {string} label @param {string} [hint] @param {...Node} more */
export function field(input, label, hint, ...more) {
  if (hint) input.setAttribute('aria-describedby', `${input.id}-hint`);
  return h('div.field', {}, h('label', { for: input.id }, label), input, ...more, hint && h('span.note', { id: `${input.id}-hint` }, hint));
}
