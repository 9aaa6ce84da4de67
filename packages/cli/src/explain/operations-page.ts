/** What docs/operations.md says about one name. */
export interface Section {
  readonly kind: 'alarm' | 'state' | 'error';
  /** As on the page: `not replicated`, `holding`, `STORE_FULL`. */
  readonly name: string;
  /** Of the heading on the page. */
  readonly anchor: string;
  /** Markdown. */
  readonly text: string;
}

const HEADING = /^### (?:(Alarm|State) )?`([^`]+)`\n/;

/** The sections of docs/operations.md, in its order. */
export function sectionsOf(page: string): readonly Section[] {
  return page.split(/^(?=#{2,3} )/m).flatMap((part): Section[] => {
    const [heading, word, name = ''] = HEADING.exec(part) ?? [];
    if (heading === undefined) return [];
    const kind = word === 'Alarm' ? 'alarm' : word === 'State' ? 'state' : 'error';
    const prefix = kind === 'error' ? '' : `${kind}-`;
    const anchor = `${prefix}${slugOf(name)}`;
    return [{ kind, name, anchor, text: part.slice(heading.length).trim() }];
  });
}

/** How a name is given where no blanks can be: `no-nats` for `no NATS`. */
export function slugOf(name: string): string {
  return name.toLowerCase().replaceAll(' ', '-');
}

/** As packages/cli/pages/operations.json has them. */
export function sectionsJson(page: string): string {
  return `${JSON.stringify(sectionsOf(page), undefined, 2)}\n`;
}
