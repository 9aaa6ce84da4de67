import { shellWord } from '@antiphon/core';
import type { CommandNode, OptionNode } from './command-tree.js';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;

export type Shell = (typeof SHELLS)[number];

/** What a shell has to run to complete the command; it ends with a line feed. */
export function completionScript(shell: Shell, tree: readonly CommandNode[]): string {
  const script: Readonly<Record<Shell, () => string>> = {
    bash: () => bash(tree),
    zsh: () =>
      `autoload -U +X compinit && compinit -u\nautoload -U +X bashcompinit && bashcompinit\n${bash(tree)}`,
    fish: () => fish(tree),
  };
  return script[shell]();
}

/**
 * First it follows the words up to the cursor down the commands, then it offers what this command
 * takes: its commands and options, or files behind an option that names one. No variable is called
 * `path` or `words`: zsh, which runs this as well, has these for itself.
 */
function bash(tree: readonly CommandNode[]): string {
  const known = tree.flatMap(({ path }) => (path === '' ? [] : [shellWord(path)]));
  const offered = tree.map(({ path, commands, options }) => {
    const words = [...commands.map(({ name }) => name), ...options.flatMap(({ names }) => names)];
    return `    ${shellWord(path)}) offers=${shellWord(words.join(' '))} ;;`;
  });
  return `_antiphon() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]}
  local place= next= offers= index
  for ((index = 1; index < COMP_CWORD; index++)); do
    next="\${place:+$place }\${COMP_WORDS[index]}"
    case $next in
      ${known.join('|')}) place=$next ;;
    esac
  done
  COMPREPLY=()
  case "$place $previous" in
    ${caseOf(tree, 'file')}) COMPREPLY=($(compgen -f -- "$current")); return ;;
    ${caseOf(tree, 'text')}) return ;;
  esac
  case $place in
${offered.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$offers" -- "$current"))
}
complete -o bashdefault -o default -F _antiphon antiphon
`;
}

/** The options whose values are of a kind, each behind its command. */
function caseOf(tree: readonly CommandNode[], value: OptionNode['value']): string {
  const places = tree.flatMap(({ path, options }) =>
    options
      .filter((option) => option.value === value)
      .flatMap(({ names }) => names.map((name) => `${path} ${name}`)),
  );
  return places.map((place) => `'${place}'`).join('|');
}

function fish(tree: readonly CommandNode[]): string {
  const lines = tree.flatMap(({ path, commands, options }) => {
    const at = `-n ${shellWord(path === '' ? '__antiphon_at' : `__antiphon_at ${path}`)}`;
    const names = commands.map(
      ({ name, description }) => `complete -c antiphon ${at} -f -a ${name} -d ${shellWord(description)}`,
    );
    const flags = options.map(({ names: given, value, description }) => {
      const flag = given.map((name) =>
        name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
      );
      const takes = { file: ' -r -F', text: ' -x', none: '' }[value];
      return `complete -c antiphon ${at} ${flag.join(' ')}${takes} -d ${shellWord(description)}`;
    });
    return [...names, ...flags];
  });
  const paths = tree.flatMap(({ path }) => (path === '' ? [] : [shellWord(path)]));
  return `# The commands that stand before the cursor are these, and no others.
function __antiphon_at
  set -l path
  for word in (commandline -opc)[2..]
    set -l next (string trim -- "$path $word")
    contains -- $next ${paths.join(' ')}; and set path $next
  end
  test "$path" = "$argv"
end
${lines.join('\n')}
`;
}
