import { useState } from 'preact/hooks';
import { keepToken } from '../data/session.js';

/** The server has tokens, and this tab has none that it knows. */
export function Unlock({ why }: { readonly why: string }) {
  const [text, setText] = useState('');
  const submit = (event: Event): void => {
    event.preventDefault();
    if (text.trim() !== '') keepToken(text.trim());
  };
  return (
    <form class="panel unlock" onSubmit={submit}>
      <h2>This console needs a token</h2>
      <p>
        One with the role <code>read</code> shows everything, one with <code>admin</code> also acts. It is
        kept for as long as this tab is open, and sent to this server only.
      </p>
      <label>
        Token
        <input
          type="password"
          autocomplete="off"
          spellcheck={false}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
      <p class="hint">{why}</p>
      <button type="submit" class="primary" disabled={text.trim() === ''}>
        Open
      </button>
    </form>
  );
}
