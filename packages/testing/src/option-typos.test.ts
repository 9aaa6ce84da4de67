import {
  checkLinearizable,
  checkSession,
  eventually,
  Faults,
  History,
  Link,
  memoryBus,
  memoryLease,
  memoryLog,
  memoryRegistry,
  Random,
  VirtualClock,
} from './index.js';
import { describeTypos } from './internal.js';

describeTypos({
  VirtualClockOptions: { option: 'startMs', call: (options) => new VirtualClock(options) },
  NodeClockOptions: { option: 'skewMs', call: (options) => new VirtualClock().node(options) },
  EventuallyOptions: { option: 'timeoutMs', call: (options) => eventually('it is', () => true, options) },
  FaultRates: { option: 'lostAppend', call: (rates) => new Faults(new Random(1), rates) },
  'FaultRates of set()': { option: 'lostAppend', call: (rates) => Faults.none().set(rates) },
  LinkOptions: { option: 'timeoutMs', call: (options) => new Link(options) },
  'the options of kill()': { option: 'dropWhatIsUnderWay', call: (options) => new Link().kill(options) },
  MemoryBusOptions: { option: 'faults', call: (options) => memoryBus(options) },
  MemoryLeaseOptions: { option: 'faults', call: (options) => memoryLease(options) },
  MemoryLogOptions: { option: 'dedupeWindowMs', call: (options) => memoryLog(options) },
  MemoryRegistryOptions: { option: 'clock', call: (options) => memoryRegistry(options) },
  HistoryOptions: { option: 'now', call: (options) => new History(options) },
  LinearizableOptions: { option: 'clockErrorMs', call: (options) => checkLinearizable([], options) },
  SessionOptions: { option: 'guarantees', call: (options) => checkSession([], options) },
});
