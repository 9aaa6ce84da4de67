await import('@antiphon/cli/bin');
