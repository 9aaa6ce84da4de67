import { describe, expectTypeOf, it } from 'vitest';
import type {
  ActorRef,
  Behaviour,
  Context,
  Handlers,
  Message,
  MailboxOptions,
  NoReply,
  Received,
  Ref,
  RemoteCommands,
  ReplyOf,
  RequestOf,
} from './index.js';

interface WriteResult {
  readonly outcome: 'committed' | 'rejected';
}

interface Replica {
  write(request: { readonly sql: string }): WriteResult;
  sealNow(): void;
  find(id?: number): Promise<string | undefined>;
}

declare const ref: Ref<Replica>;

/** Checked by the compiler (`tsconfig.test.json`); never called. */
export function misuse(behave: (behaviour: Behaviour<Replica>) => void): void {
  // @ts-expect-error no such message
  ref.tell('wirte', { sql: '' });
  // @ts-expect-error the request is missing
  ref.tell('write');
  // @ts-expect-error the request is of another type
  void ref.ask('write', { sql: 1 });
  // @ts-expect-error it takes no request
  void ref.ask('sealNow', 5);
  // @ts-expect-error options are no request
  void ref.ask('find', { timeoutMs: 5 });
  void ref.ask('sealNow', undefined, { timeoutMs: 5 });
  void ref.ask('find', 3, { signal: AbortSignal.timeout(5) });
  // @ts-expect-error a handler is missing
  behave({ receive: { write: () => ({ outcome: 'committed' }), sealNow: () => undefined } });
  // @ts-expect-error a handler answers with another type
  behave({ receive: { write: () => 'committed', sealNow: () => undefined, find: () => 'x' } });
}

describe('the types of a protocol', () => {
  it('give each message its request and reply', () => {
    expectTypeOf<RequestOf<Replica, 'write'>>().toEqualTypeOf<{ readonly sql: string }>();
    expectTypeOf<RequestOf<Replica, 'sealNow'>>().toEqualTypeOf<undefined>();
    expectTypeOf<RequestOf<Replica, 'find'>>().toEqualTypeOf<number | undefined>();
    expectTypeOf<ReplyOf<Replica, 'write'>>().toEqualTypeOf<WriteResult>();
    expectTypeOf<ReplyOf<Replica, 'find'>>().toEqualTypeOf<string | undefined>();
  });

  it('make messages a discriminated union', () => {
    type Write = Extract<Message<Replica>, { type: 'write' }>;
    expectTypeOf<Message<Replica>['type']>().toEqualTypeOf<'write' | 'sealNow' | 'find'>();
    expectTypeOf<Write['request']>().toEqualTypeOf<{ readonly sql: string }>();
  });

  it('reach references', () => {
    const ask = () => ref.ask('write', { sql: '' });
    expectTypeOf(ask).returns.toEqualTypeOf<Promise<WriteResult>>();
    expectTypeOf<ActorRef<Replica>>().toExtend<Ref<Replica>>();
    expectTypeOf<ActorRef<Replica>>().not.toExtend<Ref<{ other(): void }>>();
    expectTypeOf<ActorRef<Replica>>().not.toExtend<Ref<{ sealNow(at: number): string }>>();
    // Whoever needs only some of the messages can ask for no more.
    expectTypeOf<ActorRef<Replica>>().toExtend<Ref<{ sealNow(): void }>>();
  });

  it('reach handlers, envelopes, lanes and remote commands', () => {
    type Write = Parameters<Handlers<Replica>['write']>;
    expectTypeOf<Write>().toEqualTypeOf<
      [{ readonly sql: string }, Context<Replica>, Received<Replica, 'write'>]
    >();
    expectTypeOf<ReturnType<Handlers<Replica>['write']>>().toEqualTypeOf<
      WriteResult | NoReply | Promise<WriteResult | NoReply>
    >();
    const take = (context: Context<Replica>) => context.takeWaiting('write', 10);
    expectTypeOf(take).returns.toEqualTypeOf<readonly Received<Replica, 'write'>[]>();
    expectTypeOf<keyof MailboxOptions<Replica>['laneOf']>().toEqualTypeOf<'write' | 'sealNow' | 'find'>();
    expectTypeOf<NonNullable<RemoteCommands<Replica>['write']>>().returns.toEqualTypeOf<{
      readonly sql: string;
    }>();
  });
});
