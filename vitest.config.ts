import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * Tests are told apart by what they need (see CONTRIBUTING.md): `x.test.ts` needs nothing,
 * `x.nats.test.ts` a real nats-server, `x.e2e.test.ts` the built packages and processes,
 * `test/chaos` kills processes for minutes.
 */
const suffixed = ['**/*.nats.test.ts', '**/*.e2e.test.ts', '**/*.pg.test.ts', '**/*.mariadb.test.ts'];
const notOurs = ['**/node_modules/**', '**/dist/**'];

/**
 * Tests run on the sources: each package exports them under this condition, ahead of its `dist`.
 */
const sources = ['@antiphon/source', 'node', 'import', 'default'];
const resolution = { resolve: { conditions: sources }, ssr: { resolve: { conditions: sources } } };

/** vitest leaves one core free, which is half of a machine with two. */
const WORKERS = Math.max(2, availableParallelism() - 1);
/**
 * What runs longest, the longest first: begun last, one of them would keep a single worker busy
 * while the others have nothing to do any more. A fresh clone has no times of an earlier run to go
 * by, and the size of a file, which vitest takes instead, says little.
 */
const LONG_FILES = [
  'simulator/src/simulate.test.ts',
  'sqlite/src/capture.test.ts',
  'simulator/src/log-loss.test.ts',
  'simulator/src/defects.test.ts',
  'sqlite/src/convergence.test.ts',
  'sqlite/src/conformance.test.ts',
  'replica/src/start/half-published.nats.test.ts',
  'replica/src/replica/log-memory.nats.test.ts',
  'replica/src/publish/resend.nats.test.ts',
  'nats/src/lease/leader-change.nats.test.ts',
  'nats/src/log/leader-change.nats.test.ts',
  'replica/src/sync/sync.nats.test.ts',
  'client/src/changes/cluster-changes.nats.test.ts',
  'test/bench/bench.e2e.test.ts',
  'test/deploy/compose.e2e.test.ts',
  'test/examples/foreign-writer.e2e.test.ts',
  'test/examples/services.e2e.test.ts',
  'cli/src/e2e/sync.e2e.test.ts',
  'cli/src/e2e/demo.e2e.test.ts',
  'cli/src/e2e/cluster.e2e.test.ts',
  'cli/src/e2e/duplicates.e2e.test.ts',
  'cli/src/e2e/health.e2e.test.ts',
  'cli/src/e2e/console.e2e.test.ts',
  'test/chaos/failover-nobody.test.ts',
  'test/chaos/failover-three-servers.test.ts',
  'test/chaos/failover-candidate.test.ts',
  'test/chaos/failover-tails.test.ts',
  'test/chaos/failover-rivals.test.ts',
  'test/chaos/kill-broker.test.ts',
];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const found = LONG_FILES.findIndex((name) => moduleId.endsWith(`/${name}`));
      return found < 0 ? LONG_FILES.length : found;
    };
    const group = ({ project }: TestSpecification): number => project.config.sequence.groupOrder;
    return (await super.sort(files)).sort((a, b) => group(a) - group(b) || rank(a) - rank(b));
  }
}

interface ProjectSettings {
  readonly name: string;
  readonly include: readonly string[];
  readonly exclude?: readonly string[];
  readonly timeoutMs: number;
  /**
   * Projects run group by group: no cluster runs while the unit tests keep the machine busy.
   */
  readonly group: number;
  /** How many files run at once. */
  readonly workers: number;
}

function project(settings: ProjectSettings) {
  const { name, include, exclude = [], timeoutMs, group, workers } = settings;
  return {
    ...resolution,
    test: {
      name,
      include: [...include],
      exclude: [...notOurs, ...exclude],
      testTimeout: timeoutMs,
      hookTimeout: timeoutMs,
      teardownTimeout: 10_000,
      // A process per file: native modules and the processes a test starts go away with it.
      pool: 'forks' as const,
      maxWorkers: workers,
      sequence: { groupOrder: group },
    },
  };
}

export default defineConfig({
  test: {
    // A project may still be without tests; infra/scripts/test.mjs fails a run in which no test ran
    // at all.
    passWithNoTests: true,
    sequence: { sequencer: LongestFirst },
    projects: [
      project({
        name: 'unit',
        include: ['packages/**/src/**/*.test.ts', 'infra/**/*.test.mjs', 'test/fuzz/**/*.test.ts'],
        exclude: suffixed,
        timeoutMs: 30_000,
        group: 0,
        workers: WORKERS,
      }),
      project({
        name: 'nats',
        include: ['packages/**/src/**/*.nats.test.ts', 'test/**/*.nats.test.ts'],
        exclude: ['test/chaos/**'],
        timeoutMs: 30_000,
        group: 1,
        workers: WORKERS,
      }),
      project({
        name: 'e2e',
        include: ['packages/**/src/**/*.e2e.test.ts', 'test/**/*.e2e.test.ts'],
        exclude: ['test/chaos/**'],
        timeoutMs: 120_000,
        group: 2,
        workers: WORKERS,
      }),
      project({
        name: 'chaos',
        include: ['test/chaos/**/*.test.ts'],
        timeoutMs: 300_000,
        group: 3,
        workers: WORKERS,
      }),
    ],
  },
});
