export { simulate } from './simulate.js';
export { describeReport, type SimulationReport } from './report.js';
export type { ChaosSwitches, Defect, SimulatedTopology, SimulationOptions } from './options.js';
export type { Violation } from './violation.js';
