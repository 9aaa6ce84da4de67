export { consoleFiles, type ConsoleFile } from './console-files.js';
