SET 'table.exec.state.tll' = '1 d';
