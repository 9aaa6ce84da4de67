import { main } from './main.js';
import { EXIT } from './output/exit-code.js';
import { endWithoutOutput } from './output/terminal.js';

endWithoutOutput(EXIT.failed);
const exitCode = await main(process.argv.slice(2));
// Results may still be on their way into a pipe; nothing else has a reason to keep the process.
process.stdout.write('', (error) => {
  // Otherwise what was not written decides.
  if (error === null || error === undefined) process.exit(exitCode);
});
