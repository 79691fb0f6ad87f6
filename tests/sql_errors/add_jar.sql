ADD JAR '/opt/connector.jar';
