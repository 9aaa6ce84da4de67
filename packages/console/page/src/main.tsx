import { render } from 'preact';
import './styles/base.css';
import './styles/parts.css';
import './styles/views.css';
import { follow } from './data/live.js';
import { show, theme } from './data/theme.js';
import { Shell } from './views/shell.js';

show(theme.value);
const root = document.getElementById('console');
if (root !== null) render(<Shell />, root);
void follow();
