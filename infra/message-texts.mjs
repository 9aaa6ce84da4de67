/**
 * Finds the texts that users read: messages of errors, log lines, alarms, findings of `doctor`. The
 * sources are parsed, not run. A text is followed through constants, conditions, templates and
 * helpers that pass it on; what cannot be known stands as a hole.
 */
import { dirname } from 'node:path';
import ts from 'typescript';

/** Stands for a part that is only known at run time. */
export const HOLE = '⟨…⟩';
/** Alternatives of one text; more are not told apart. */
const MAX_VARIANTS = 64;
const MAX_DEPTH = 6;

/**
 * Calls that take a text for users, by the name of what is called, with the places of the texts.
 */
const SINKS = {
  'new AntiphonError': [1],
  'new ConflictError': [0],
  'new UnknownOutcomeError': [0],
  'new InvalidArgumentError': [0],
  abortError: [1],
  '.alarm': [1],
  '.onProblem': [0],
  'logger.debug': [1],
  'logger.info': [1],
  'logger.warn': [1],
  'logger.error': [1],
  'cli/src/doctor#warn': [1, 2],
  'cli/src/doctor#fail': [1, 2],
};

/**
 * Where a text stands in the whole that users read: it begins it, it ends it, both, or neither.
 * @typedef {{ readonly begins: boolean, readonly ends: boolean }} Part
 * @typedef {{ readonly file: string, readonly source: ts.SourceFile }} Parsed
 * @typedef {Part & { readonly file: string, readonly line: number, readonly text: string }} Message
 * @typedef {ts.CallExpression | ts.NewExpression} Call
 * @typedef {Map<string, Map<number, Part>>} Helpers - By name: the places of the texts.
 */

/** @type {Part} */
const WHOLE = { begins: true, ends: true };

/**
 * Every text of every call that takes one.
 * @param {ReadonlyMap<string, string>} sources - Text by file name.
 * @returns {readonly Message[]}
 */
export function messagesOf(sources) {
  const files = [...sources].map(([file, text]) => ({
    file,
    source: ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true),
  }));
  /** @type {Helpers} */
  const helpers = new Map(
    Object.entries(SINKS).map(([name, places]) => [name, new Map(places.map((place) => [place, WHOLE]))]),
  );
  // A helper of a helper is found one round later.
  while (files.some((parsed) => findHelpers(parsed, helpers)));
  return files.flatMap((parsed) => textsIn(parsed, helpers));
}

/**
 * Functions that pass a parameter on as a text or a part of it: their callers write it.
 * @param {Parsed} parsed
 * @param {Helpers} helpers - Added to.
 * @returns {boolean} Whether something was found that was not known.
 */
function findHelpers(parsed, helpers) {
  let found = false;
  for (const { argument, part } of argumentsIn(parsed, helpers)) {
    for (const { parameter, begins, ends } of parametersIn(argument, part, 0)) {
      const name = nameOf(parameter.parent, parsed);
      if (name === undefined) continue;
      const place = parameter.parent.parameters.indexOf(parameter);
      const places = helpers.get(name) ?? new Map();
      const known = places.get(place);
      const now = { begins: begins || known?.begins === true, ends: ends || known?.ends === true };
      if (known?.begins === now.begins && known.ends === now.ends) continue;
      helpers.set(name, places.set(place, now));
      found = true;
    }
  }
  return found;
}

/**
 * @param {Parsed} parsed
 * @param {Helpers} helpers
 * @returns {readonly Message[]}
 */
function textsIn(parsed, helpers) {
  return argumentsIn(parsed, helpers).flatMap(({ argument, part }) => {
    const { line } = parsed.source.getLineAndCharacterOfPosition(argument.getStart());
    return [...new Set(variantsOf(argument, 0))]
      .filter((text) => text !== HOLE)
      .map((text) => ({ file: parsed.file, line: line + 1, text, ...part }));
  });
}

/**
 * @param {Parsed} parsed
 * @param {Helpers} helpers
 */
function argumentsIn(parsed, helpers) {
  return callsIn(parsed.source).flatMap((call) =>
    keysOf(call, parsed).flatMap((key) =>
      [...(helpers.get(key) ?? [])].flatMap(([place, part]) => {
        const argument = call.arguments?.[place];
        return argument === undefined ? [] : [{ argument, part }];
      }),
    ),
  );
}

/** @type {WeakMap<ts.SourceFile, readonly Call[]>} */
const callsOfFiles = new WeakMap();

/** @param {ts.SourceFile} source */
function callsIn(source) {
  const known = callsOfFiles.get(source);
  if (known !== undefined) return known;
  /** @type {Call[]} */
  const calls = [];
  const visit = (/** @type {ts.Node} */ node) => {
    if (ts.isCallExpression(node) || ts.isNewExpression(node)) calls.push(node);
    ts.forEachChild(node, visit);
  };
  visit(source);
  callsOfFiles.set(source, calls);
  return calls;
}

/**
 * The names under which what is called may be known as a helper.
 * @param {Call} call
 * @param {Parsed} parsed
 */
function keysOf(call, { file, source }) {
  const callee = call.expression;
  if (ts.isNewExpression(call)) return [`new ${callee.getText(source)}`];
  if (ts.isIdentifier(callee))
    return [callee.text, ...[dirname(file), file].map((of) => `${of}#${callee.text}`)];
  if (!ts.isPropertyAccessExpression(callee)) return [];
  const { name, expression } = callee;
  const owner = ts.isPropertyAccessExpression(expression) ? expression.name : expression;
  return [
    `.${name.text}`,
    `${owner.getText(source).replace(/^#/, '')}.${name.text}`,
    `${file}#.${name.text}`,
  ];
}

/**
 * The name that callers use: everywhere for what is exported, in this file for the rest.
 * @param {ts.Node} node
 * @param {Parsed} parsed
 */
function nameOf(node, { file }) {
  if (ts.isMethodDeclaration(node)) return `${file}#.${node.name.getText()}`;
  if (ts.isFunctionDeclaration(node) && node.name !== undefined) {
    const exported = node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) ?? false;
    return exported ? node.name.text : `${file}#${node.name.text}`;
  }
  if (ts.isArrowFunction(node) && ts.isVariableDeclaration(node.parent))
    return `${file}#${node.parent.name.getText()}`;
  return undefined;
}

/**
 * The parameters that are such a text, or stand in it.
 * @param {ts.Expression} expression
 * @param {Part} part
 * @param {number} depth
 * @returns {readonly (Part & { readonly parameter: ts.ParameterDeclaration })[]}
 */
function parametersIn(expression, part, depth) {
  if (depth > MAX_DEPTH) return [];
  const { begins, ends } = part;
  if (ts.isParenthesizedExpression(expression)) return parametersIn(expression.expression, part, depth + 1);
  if (ts.isConditionalExpression(expression))
    return [expression.whenTrue, expression.whenFalse].flatMap((one) => parametersIn(one, part, depth + 1));
  if (ts.isBinaryExpression(expression) && expression.operatorToken.kind === ts.SyntaxKind.PlusToken)
    return [
      ...parametersIn(expression.left, { begins, ends: false }, depth + 1),
      ...parametersIn(expression.right, { begins: false, ends }, depth + 1),
    ];
  if (ts.isTemplateExpression(expression)) {
    return expression.templateSpans.flatMap(({ expression: inner, literal }, index) => {
      const isFirst = index === 0 && expression.head.text === '';
      const isLast = index === expression.templateSpans.length - 1 && literal.text === '';
      return parametersIn(inner, { begins: begins && isFirst, ends: ends && isLast }, depth + 1);
    });
  }
  if (!ts.isIdentifier(expression)) return [];
  const declaration = declarationOf(expression);
  if (declaration === undefined) return [];
  if (ts.isParameter(declaration))
    return isText(declaration) ? [{ parameter: declaration, begins, ends }] : [];
  return declaration.initializer === undefined || !isConstant(declaration)
    ? []
    : parametersIn(declaration.initializer, part, depth + 1);
}

/**
 * Names and ids stand in a text as they are.
 * @param {ts.ParameterDeclaration} parameter
 */
function isText({ name }) {
  return /^(what|why|text|message|reason|advice|problem|mistake|how|answer|instead|remedy|hint)$/.test(
    name.getText(),
  );
}

/**
 * What an expression may be as text, with holes.
 * @param {ts.Expression} expression
 * @param {number} depth
 * @returns {readonly string[]}
 */
function variantsOf(expression, depth) {
  if (depth > MAX_DEPTH) return [HOLE];
  const next = (/** @type {ts.Expression} */ inner) => variantsOf(inner, depth + 1);
  if (ts.isStringLiteralLike(expression)) return [expression.text];
  if (ts.isNumericLiteral(expression)) return [expression.text];
  if (ts.isTemplateExpression(expression)) {
    return expression.templateSpans.reduce(
      (texts, span) => pairs(pairs(texts, next(span.expression)), [span.literal.text]),
      /** @type {readonly string[]} */ ([expression.head.text]),
    );
  }
  if (ts.isParenthesizedExpression(expression) || ts.isAsExpression(expression))
    return next(expression.expression);
  if (ts.isConditionalExpression(expression))
    return [...next(expression.whenTrue), ...next(expression.whenFalse)];
  if (ts.isBinaryExpression(expression)) {
    const { left, right, operatorToken } = expression;
    if (operatorToken.kind === ts.SyntaxKind.PlusToken) return pairs(next(left), next(right));
    if (operatorToken.kind === ts.SyntaxKind.QuestionQuestionToken) return [...next(left), ...next(right)];
  }
  if (ts.isIdentifier(expression)) {
    const declaration = declarationOf(expression);
    if (declaration !== undefined && ts.isVariableDeclaration(declaration) && isConstant(declaration))
      return declaration.initializer === undefined ? [HOLE] : next(declaration.initializer);
  }
  if (ts.isCallExpression(expression) && ts.isIdentifier(expression.expression))
    return returnedBy(expression.expression, next);
  return [HOLE];
}

/**
 * The texts that a function of the same file returns.
 * @param {ts.Identifier} name
 * @param {(inner: ts.Expression) => readonly string[]} next
 */
function returnedBy(name, next) {
  const called = name
    .getSourceFile()
    .statements.find((one) => ts.isFunctionDeclaration(one) && one.name?.text === name.text);
  if (called === undefined || !ts.isFunctionDeclaration(called) || called.body === undefined) return [HOLE];
  /** @type {string[]} */
  const texts = [];
  const visit = (/** @type {ts.Node} */ node) => {
    if (ts.isFunctionLike(node)) return;
    if (ts.isReturnStatement(node) && node.expression !== undefined) texts.push(...next(node.expression));
    ts.forEachChild(node, visit);
  };
  ts.forEachChild(called.body, visit);
  return texts.length === 0 ? [HOLE] : texts;
}

/**
 * @param {readonly string[]} firsts
 * @param {readonly string[]} seconds
 */
function pairs(firsts, seconds) {
  return firsts.flatMap((first) => seconds.map((second) => first + second)).slice(0, MAX_VARIANTS);
}

/** @param {ts.VariableDeclaration} declaration */
function isConstant({ parent }) {
  return ts.isVariableDeclarationList(parent) && (parent.flags & ts.NodeFlags.Const) !== 0;
}

/**
 * The nearest declaration of a name around its use; enough for texts, which nothing shadows.
 * @param {ts.Identifier} name
 * @returns {ts.VariableDeclaration | ts.ParameterDeclaration | undefined}
 */
function declarationOf(name) {
  for (let scope = name.parent; scope !== undefined; scope = scope.parent) {
    if (ts.isFunctionLike(scope)) {
      const parameter = scope.parameters.find(
        (one) => ts.isIdentifier(one.name) && one.name.text === name.text,
      );
      if (parameter !== undefined) return parameter;
    }
    if (!ts.isBlock(scope) && !ts.isSourceFile(scope) && !ts.isCaseOrDefaultClause(scope)) continue;
    for (const statement of scope.statements) {
      if (!ts.isVariableStatement(statement)) continue;
      for (const one of statement.declarationList.declarations)
        if (ts.isIdentifier(one.name) && one.name.text === name.text) return one;
    }
  }
  return undefined;
}
