import { writeFileSync } from 'node:fs';

/**
 * A vitest reporter that counts, after every file, into the file that ANTIPHON_TEST_COUNTS names.
 * After every file and not only at the end, so that a run that crashes or is ended for taking too
 * long still says what it did.
 */
export default class CountReporter {
  #counts = { passed: 0, failed: 0, skipped: 0, finished: false };
  /** Ids, because the object for a file is made anew once its tests are known. */
  #unfinished = new Set();

  onTestModuleQueued(module) {
    this.#unfinished.add(module.id);
  }

  onTestModuleEnd(module) {
    this.#unfinished.delete(module.id);
    for (const test of module.children.allTests()) {
      const { state } = test.result();
      if (state === 'passed') this.#counts.passed += 1;
      else if (state === 'failed') this.#counts.failed += 1;
      else this.#counts.skipped += 1;
    }
    // A file that can't be loaded has no test that could fail, and neither has a suite whose
    // beforeAll throws.
    const suites = [...module.children.allSuites()];
    this.#counts.failed += [module, ...suites].filter((suite) => suite.errors().length > 0).length;
    this.#write();
  }

  onTestRunEnd(_modules, unhandledErrors) {
    this.#counts.failed += unhandledErrors.length + this.#unfinished.size;
    this.#counts.finished = true;
    this.#write();
  }

  #write() {
    const file = process.env.ANTIPHON_TEST_COUNTS;
    if (file !== undefined) writeFileSync(file, JSON.stringify(this.#counts));
  }
}
