import { AntiphonError, suggest } from '@antiphon/core';
import { commandTree } from '../completion/command-tree.js';
import { completionScript, SHELLS } from '../completion/shell-scripts.js';
import { EXIT } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { defineCommand, type CommandHost } from './define.js';

export function defineCompletion(host: CommandHost): void {
  defineCommand(host, {
    name: 'completion',
    description: 'write what a shell needs to complete commands and options',
    examples: [
      'antiphon completion bash > ~/.local/share/bash-completion/completions/antiphon',
      'antiphon completion fish > ~/.config/fish/completions/antiphon.fish',
      `echo 'eval "$(antiphon completion zsh)"' >> ~/.zshrc`,
    ],
    configure: (command) => void command.argument('<shell>', SHELLS.join(', ')),
    run: (_, { terminal }, [given = '']) => {
      const shell = SHELLS.find((name) => name === given);
      if (shell === undefined) {
        const message = `There is no completion for the shell "${given}". ${suggest(given, SHELLS)}`;
        throw new AntiphonError('BAD_OPTION', message);
      }
      const script = completionScript(shell, commandTree(host.program));
      terminal.out(terminal.json ? `${toJson({ shell, script })}\n` : script);
      return Promise.resolve(EXIT.ok);
    },
  });
}
