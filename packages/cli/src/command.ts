import { main } from './main.js';
import { endQuietlyOnClosedPipe } from './output/terminal.js';

endQuietlyOnClosedPipe();
const exitCode = await main(process.argv.slice(2));
// Results may still be on their way into a pipe; nothing else has a reason to keep the process.
process.stdout.write('', () => process.exit(exitCode));
