import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Denials } from './denials.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const CREATE = '$JS.API.CONSUMER.CREATE.ANTIPHON_shop';

function running(): { denials: Denials; told: string[] } {
  const denials = new Denials('nats://127.0.0.1:4222');
  denials.bePatient();
  const told: string[] = [];
  denials.on(({ type, denial }) => told.push(`${type} ${denial.subject}`));
  return { denials, told };
}

it('a user who is granted some of the names only does not make it begin and end again and again', () => {
  const { denials, told } = running();
  for (let round = 0; round < 200; round += 1) {
    denials.attempted(`${CREATE}.clock_${round}`);
    denials.denied('publish', `${CREATE}.clock_${round}`);
    denials.attempted(`${CREATE}.replica_eu-1`);
    denials.permitted('publish', `${CREATE}.replica_eu-1`);
    vi.advanceTimersByTime(1300);
  }
  expect(told).toEqual([`begun ${CREATE}.*`]);
  expect(denials.all).toMatchObject([{ subject: `${CREATE}.*`, count: 200 }]);
});

it('what nobody tries any more does not keep it up when others of its kind are permitted', () => {
  const { denials, told } = running();
  denials.denied('publish', `${CREATE}.replica_eu-1`);
  denials.denied('publish', `${CREATE}.clock_A`);
  vi.advanceTimersByTime(2000);
  denials.permitted('publish', `${CREATE}.clock_B`);
  expect(denials.any).toBe(true);
  vi.advanceTimersByTime(30_000);
  expect(told).toEqual([`begun ${CREATE}.*`, `over ${CREATE}.*`]);
});

it('one that nobody tries at all is forgotten, also when it is a subscription; a login is not', () => {
  const { denials, told } = running();
  denials.denied('subscribe', 'antiphon.shop.replica.a.ping');
  denials.denied('login', '');
  vi.advanceTimersByTime(11 * 60_000);
  expect(told).toEqual(['begun antiphon.shop.replica.a.*', 'begun ', 'over antiphon.shop.replica.a.*']);
  denials.permitted('login', '');
  expect(denials.any).toBe(false);
});
