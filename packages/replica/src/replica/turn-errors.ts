import { AntiphonError } from '@antiphon/core';

export function leftUnanswered(): AntiphonError {
  return new AntiphonError('INTERNAL', 'The store left writes without an answer. Please report it.');
}

export function starting(): AntiphonError {
  return new AntiphonError('ACTOR_STOPPED', 'The replica is starting. Ask again.');
}
