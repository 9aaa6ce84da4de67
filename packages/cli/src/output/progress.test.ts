import { expect, it } from 'vitest';
import { Progress } from './progress.js';
import type { Terminal } from './terminal.js';

function recording(settings: Partial<Terminal>): { terminal: Terminal; text: () => string } {
  let text = '';
  const terminal: Terminal = {
    out: (part) => void (text += part),
    err: () => undefined,
    interactive: false,
    color: false,
    columns: 80,
    json: false,
    waitingFor: () => undefined,
    ...settings,
  };
  return { terminal, text: () => text };
}

it('writes a line for every tenth in a pipe', () => {
  const { terminal, text } = recording({});
  const progress = new Progress(terminal, 1000);
  for (let done = 0; done <= 1000; done += 1) progress.update(done, 'rows');
  progress.update(1000, 'rows');
  progress.end();
  expect(text().split('\n')).toHaveLength(11);
  expect(text()).toMatch(/^ 10% rows\n 20% rows\n/);
  expect(text()).not.toContain('\r');
});

it('redraws one line on a terminal and leaves it', () => {
  const { terminal, text } = recording({ interactive: true, columns: 30 });
  const progress = new Progress(terminal, 10);
  progress.update(10, 'a label that is longer than the terminal is wide');
  progress.end();
  expect(text()).toMatch(/^\r\u001b\[2K█+/u);
  expect(text().replace('\r\u001b[2K', '')).toHaveLength(30);
});

it('is silent with --json', () => {
  const { terminal, text } = recording({ json: true });
  new Progress(terminal, 10).update(10, 'x');
  expect(text()).toBe('');
});
