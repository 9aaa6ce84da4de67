import { describe, expect, it } from 'vitest';
import { formatTransactionTrace, readTraceContext, readTransactionTrace } from './trace-context.js';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';
const VALID = `00-${TRACE}-${SPAN}-01`;

describe('a traceparent', () => {
  it.each([VALID, `00-${TRACE}-${SPAN}-00`, `00-${TRACE}-${SPAN}-ff`])('is read: %s', (traceparent) => {
    expect(readTraceContext(traceparent, undefined)).toEqual({ traceparent });
  });

  it('of a later version is read as far as it is known', () => {
    expect(readTraceContext(`01-${TRACE}-${SPAN}-01-more`, undefined)).toEqual({
      traceparent: `01-${TRACE}-${SPAN}-01`,
    });
  });

  it.each([
    ['nothing', undefined],
    ['an empty text', ''],
    ['an id of zeros', `00-${'0'.repeat(32)}-${SPAN}-01`],
    ['a span of zeros', `00-${TRACE}-${'0'.repeat(16)}-01`],
    ['version ff', `ff-${TRACE}-${SPAN}-01`],
    ['something behind version 00', `${VALID}-more`],
    ['a later version with something glued to it', `01-${TRACE}-${SPAN}-01more`],
    ['capital letters', VALID.toUpperCase()],
    ['a short id', `00-${TRACE.slice(1)}-${SPAN}-01`],
    ['no flags', `00-${TRACE}-${SPAN}`],
    ['a space before it', ` ${VALID}`],
    ['two of them', `${VALID},${VALID}`],
  ])('that is %s counts as absent', (_, traceparent) => {
    expect(readTraceContext(traceparent, 'vendor=x')).toBeUndefined();
  });

  it('stays without a tracestate that is none', () => {
    expect(readTraceContext(VALID, 'a=1,b=2')).toEqual({ traceparent: VALID, tracestate: 'a=1,b=2' });
    for (const tracestate of ['', 'a=\u00e4', 'a=1\r\nEvil: 1', 'a'.repeat(513)])
      expect(readTraceContext(VALID, tracestate)).toEqual({ traceparent: VALID });
  });
});

describe('the line of a transaction', () => {
  it.each([
    { counter: 42, traceparent: VALID },
    { counter: 2 ** 53 - 1, traceparent: VALID, tracestate: 'vendor=a b;c:d,other=x' },
  ])('says the same once it is read', (trace) => {
    expect(readTransactionTrace(formatTransactionTrace(trace))).toEqual(trace);
  });

  it.each(['', '42', `x ${VALID}`, `-1 ${VALID}`, `42 ${VALID}-x`, `42  ${VALID}`])(
    'is none: "%s"',
    (line) => {
      expect(readTransactionTrace(line)).toBeUndefined();
    },
  );
});
