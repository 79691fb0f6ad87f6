SET 'execution.checkpointing.mode' = 'AT_LEAST_ONCE';
