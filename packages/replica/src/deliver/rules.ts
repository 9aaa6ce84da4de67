import type { IntakeRules } from '@antiphon/core';
import type { Scope } from '../state/scope.js';

/** What holds for every message now. */
export function intakeRules(scope: Pick<Scope, 'document' | 'limits' | 'authority'>): IntakeRules {
  const { schema, limits: agreed, rowVersions: timesDecide } = scope.document;
  const { primary } = scope.authority.current();
  return { schema, primary, agreed, timesDecide, clockAlarmMs: scope.limits.clockAlarmMs };
}
