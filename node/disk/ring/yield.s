// Empty: it lets yield.go declare a function without a body.
