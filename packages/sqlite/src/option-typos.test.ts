import { describeTypos } from '@antiphon/testing/internal';
import { inspectFile, openDatabase, sqlite, StatementWatchdog } from './index.js';

describeTypos({
  SqliteOptions: { option: 'synchronous', given: { file: 'shop.db' }, call: (options) => sqlite(options) },
  InspectFileOptions: { option: 'rows', call: (options) => inspectFile('shop.db', options) },
  OpenOptions: { option: 'readOnly', call: (options) => openDatabase('shop.db', options) },
  WatchdogOptions: {
    option: 'blockedMs',
    given: { name: 'my service' },
    call: (options) => StatementWatchdog.start(options),
  },
});
