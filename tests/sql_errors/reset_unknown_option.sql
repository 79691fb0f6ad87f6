RESET 'parallelism.defualt';
