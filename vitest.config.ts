import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

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
const sources = ['@antiphon/source', 'node', 'import', 'module', 'default'];
const resolution = { resolve: { conditions: sources }, ssr: { resolve: { conditions: sources } } };

/** vitest leaves one core free, which is half of a machine with two. */
const WORKERS = Math.max(2, availableParallelism() - 1);

interface ProjectSettings {
  readonly name: string;
  readonly include: readonly string[];
  readonly exclude?: readonly string[];
  readonly timeoutMs: number;
  /**
   * Projects run group by group: clusters are not measured while the unit tests keep the machine
   * busy.
   */
  readonly group: number;
  /** Files that start whole clusters run one at a time: side by side they measure each other. */
  readonly oneFileAtATime?: boolean;
  /** Absent: as many as vitest takes. */
  readonly workers?: number;
}

function project(settings: ProjectSettings) {
  const { name, include, exclude = [], timeoutMs, group, oneFileAtATime = false, workers } = settings;
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
      fileParallelism: !oneFileAtATime,
      ...(workers === undefined ? {} : { maxWorkers: workers }),
      sequence: { groupOrder: group },
    },
  };
}

export default defineConfig({
  test: {
    // A project may still be without tests; infra/scripts/test.mjs fails a run in which no test ran
    // at all.
    passWithNoTests: true,
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
      }),
      project({
        name: 'e2e',
        include: ['packages/**/src/**/*.e2e.test.ts', 'test/**/*.e2e.test.ts'],
        exclude: ['test/chaos/**'],
        timeoutMs: 120_000,
        group: 2,
        oneFileAtATime: true,
      }),
      project({
        name: 'chaos',
        include: ['test/chaos/**/*.test.ts'],
        timeoutMs: 300_000,
        group: 3,
        oneFileAtATime: true,
      }),
    ],
  },
});
